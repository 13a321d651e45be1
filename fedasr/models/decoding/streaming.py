"""Recognition while somebody speaks: feed frames as they come, read the text so far.

The text equals that of offline greedy decoding of the same frames. A convolution looks one frame ahead, so each waits
for its right neighbour, and only ``finish`` lets it see the silence that stands there at the end. What needs the whole
utterance cannot stream: bidirectional and attention encoders, spellers, and features normalised per utterance
(``data.features.normalize``), which the caller has to normalise with statistics of its own.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import nn
from torch.nn import functional as F

from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.convolutions import FrameConv1d
from fedasr.models.ctc import CTCModel
from fedasr.models.decoding.transducer import GreedySearch
from fedasr.models.encoders.recurrent import LSTMEncoder
from fedasr.models.rnnt import TransducerModel
from fedasr.models.subsampling import Subsampling
from fedasr.models.tokenizer import BLANK, Tokenizer


class StreamingConvolution:
    """A subsampling convolution, its normalisation and ReLU, over frames that come in pieces."""

    def __init__(self, convolution: FrameConv1d, norm: nn.Module) -> None:
        self.convolution = convolution
        self.norm = norm
        # What the next window starts with; at first the zero that stands before the speech.
        self.waiting = convolution.weight.new_zeros(1, 1, convolution.in_channels)
        self.skip = 0

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the frames ``(1, time', channels)`` that ``x (1, time, channels)`` completes."""
        x = torch.cat([self.waiting, x], dim=1)
        skipped = min(self.skip, x.shape[1])
        x, skip = x[:, skipped:], self.skip - skipped
        stride = self.convolution.stride[0]
        count = max(0, (x.shape[1] - 3) // stride + 1)
        self.waiting = x[:, count * stride :]
        self.skip = skip + max(0, count * stride - x.shape[1])  # strides beyond the window
        if not count:
            return x.new_zeros(1, 0, self.convolution.out_channels)
        windows = x.unfold(1, 3, stride).flatten(2)
        y = F.linear(windows, self.convolution.weight.flatten(1), self.convolution.bias)
        return F.relu(self.norm(y))

    def finish(self) -> torch.Tensor:
        """Return the frames that the silence behind the speech completes."""
        return self.feed(self.waiting.new_zeros(1, 1, self.convolution.in_channels))


class StreamingSubsampling:
    """All the convolutions of a ``Subsampling``."""

    def __init__(self, subsampling: Subsampling) -> None:
        stages = zip(subsampling.convolutions, subsampling.norms, strict=True)
        self.stages = [StreamingConvolution(convolution, norm) for convolution, norm in stages]  # type: ignore[arg-type]

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the frames ``(1, time', channels)`` that ``x (1, time, mel)`` completes."""
        for stage in self.stages:
            x = stage.feed(x)
        return x

    def finish(self) -> torch.Tensor:
        """Return the frames that are left when the speech is over."""
        left = self.stages[0].finish()
        for stage in self.stages[1:]:
            left = torch.cat([stage.feed(left), stage.finish()], dim=1)
        return left


class StreamingLSTM:
    """An ``LSTMEncoder`` that remembers."""

    def __init__(self, encoder: LSTMEncoder) -> None:
        self.encoder = encoder
        self.hidden: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(encoder.layers)

    def feed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the states ``(1, time, hidden)`` of ``x (1, time, channels)``."""
        for index, (layer, norm) in enumerate(zip(self.encoder.layers, self.encoder.norms, strict=True)):
            x, self.hidden[index] = layer(x, self.hidden[index])
            x = norm(x)
        return x


class StreamingRecognizer:
    """Greedy recognition of one utterance while it is spoken; make a new one for the next.

    Args:
        model: ``ctc`` or ``rnnt`` with ``encoder: lstm``; dropout is not applied.
        tokenizer: turns tokens into text.

    Raises:
        InputError: the model needs the whole utterance.
    """

    def __init__(self, model: SpeechModel, tokenizer: Tokenizer) -> None:
        if not isinstance(model, CTCModel | TransducerModel) or not isinstance(model.encoder, LSTMEncoder):
            raise InputError(
                "this model needs the whole utterance; streaming takes 'model.name' ctc or rnnt with"
                " 'model.encoder: lstm'"
            )
        self.model: CTCModel | TransducerModel = model
        self.tokenizer = tokenizer
        self.subsampling = StreamingSubsampling(model.subsampling)
        self.encoder = StreamingLSTM(model.encoder)
        self.finished = False
        self._path: list[int] = []
        self._search: GreedySearch | None = None
        if isinstance(model, TransducerModel):
            with model.as_it_decodes():
                self._search = GreedySearch(model, 1, next(model.parameters()).device)

    @property
    def text(self) -> str:
        """Return the transcript so far."""
        if self._search is not None:
            return self.tokenizer.decode(self._search.tokens[0])
        return self.tokenizer.decode(token for token, _ in groupby(self._path) if token != BLANK)

    def feed(self, features: torch.Tensor) -> str:
        """Take more frames and return the transcript so far.

        Args:
            features: float32 ``(frames, mel)``; any number of frames, also none.

        Raises:
            ValueError: after ``finish``.
        """
        if self.finished:
            raise ValueError("the utterance is finished; make a new recogniser for the next")
        with self.model.as_it_decodes():
            self._decode(self.subsampling.feed(features.unsqueeze(0)))
        return self.text

    def finish(self) -> str:
        """Return the transcript of the whole utterance; nothing can be fed after that."""
        if not self.finished:
            with self.model.as_it_decodes():
                self._decode(self.subsampling.finish())
            self.finished = True
        return self.text

    def _decode(self, frames: torch.Tensor) -> None:
        count = frames.shape[1]
        if not count:
            return
        states = self.encoder.feed(frames)
        if isinstance(self.model, TransducerModel):
            assert self._search is not None
            self._search.feed(self.model.heard(states), torch.tensor([count], device=states.device))
        else:
            self._path += self.model.head(states)[0].argmax(dim=1).tolist()
