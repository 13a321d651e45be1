"""A user's own ``nn.Module`` as a CTC model."""

from __future__ import annotations

import torch
from torch import nn

from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.ctc import CTC

LENGTHS_AT_A_TIME = 64


class PlainCTC(CTC):
    """Wraps a module that maps ``(features, lengths)`` to ``(log_probabilities, lengths)``.

    Shapes: ``features (batch, time, mel)`` float32, ``lengths (batch,)`` int64 in frames, ``log_probabilities
    (batch, time', tokens)`` in nats with token 0 the blank, and the output frames of each utterance ``(batch,)``.

    A module may have a method ``output_frames(lengths)``, the output frames of so many feature frames. Without it the
    module is run on silence of each length once.

    Args:
        module: without BatchNorm or other buffers that training changes; its parameters are float32.
        mel_bins: mel bands of the features.
        name: of the module, for messages.

    Raises:
        InputError: the module cannot be averaged or trained privately as it is.
    """

    def __init__(self, module: nn.Module, mel_bins: int, name: str) -> None:
        super().__init__()
        check_module(module, name)
        self.module = module
        self.mel_bins = mel_bins
        self.frames: dict[int, int] = {}
        """feature frames → output frames, as far as they are known"""

    def log_probabilities(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-posteriors of the tokens ``(batch, time', tokens)`` in nats, and the lengths ``(batch,)``."""
        log_probabilities, lengths = self.module(batch.features, batch.feature_lengths)
        return log_probabilities, lengths

    def output_frames(self, feature_lengths: torch.Tensor) -> torch.Tensor:
        """Return how many output frames the module makes of so many feature frames, shape ``(batch,)``."""
        own = getattr(self.module, "output_frames", None)
        if own is not None:
            frames: torch.Tensor = own(feature_lengths)
            return frames
        missing = sorted(set(feature_lengths.tolist()) - self.frames.keys())
        with self.as_it_decodes():
            for start in range(0, len(missing), LENGTHS_AT_A_TIME):
                lengths = torch.tensor(missing[start : start + LENGTHS_AT_A_TIME])
                silence = torch.zeros(len(lengths), int(lengths.max()), self.mel_bins)
                self.frames.update(zip(lengths.tolist(), self.module(silence, lengths)[1].tolist(), strict=True))
        return torch.tensor([self.frames[length] for length in feature_lengths.tolist()], dtype=torch.int64)


def check_module(module: nn.Module, name: str) -> None:
    """Raise where a module cannot be trained by federated averaging.

    Raises:
        InputError: it has no parameters, others than float32, BatchNorm, or a norm that keeps statistics.
    """
    parameters = dict(module.named_parameters())
    if not parameters:
        raise InputError(f"'model.name' is '{name}', which has no parameters to train")
    for label, parameter in parameters.items():
        if parameter.dtype != torch.float32:
            raise InputError(
                f"'model.name' is '{name}', whose parameter '{label}' is {parameter.dtype}; expected float32"
            )
    check_statistics(module, "model.name", name)


def check_statistics(module: nn.Module, key: str, name: str) -> None:
    """Raise where a part of a model keeps statistics of batches; ``key`` is the config's, and ``name`` its value.

    Raises:
        InputError: it has BatchNorm, whether or not its parameters are trained, or another norm that keeps statistics.
    """
    for label, part in module.named_modules():
        kind = nn.modules.batchnorm
        tracks = isinstance(part, kind._NormBase) and part.track_running_stats  # InstanceNorm may keep statistics too
        if isinstance(part, kind._BatchNorm) or tracks:
            raise InputError(
                f"'{key}' is '{name}', whose '{label}' is {type(part).__name__}; its statistics can be neither"
                " averaged nor protected: use LayerNorm or GroupNorm"
            )
