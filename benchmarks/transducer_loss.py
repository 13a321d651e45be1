"""What the loss of a transducer costs: over blank and next token alone, beside over the whole alphabet.

    python -m benchmarks.transducer_loss

Both give the same losses and gradients and end in ``torchaudio.functional.rnnt_loss``; forward and backward, in turn,
one thread: of the loss alone, then of whole models, that of ``simulations/sweeps/pate_home_rnnt.yaml`` and the default
one. A ratio is the median over the repeats of the CPU seconds of the first / of the second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torchaudio.functional import rnnt_loss

from fedasr.config.schema import ModelConfig, TransducerConfig
from fedasr.data.batches import Batch
from fedasr.models.factory import build_model
from fedasr.models.rnnt import TransducerModel, transducer_loss
from fedasr.models.tokenizer import BLANK
from studies.tables import grid

HEAD = ("batch, frames, characters, alphabet", "alphabet, ms an utterance", "two steps", "ratio", "gradients differ by")
MEL, FRAMES, CHARACTERS, ALPHABET = 40, 200, 20, 29
SIZES = ((8, 50, 20, 29), (16, 50, 20, 29), (8, 100, 40, 29), (8, 50, 20, 64))

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def over_alphabet(
    logits: torch.Tensor, frames: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the losses as torchaudio computes them from the logits, ``(batch,)``."""
    result: torch.Tensor = rnnt_loss(
        logits, targets.int(), frames.int(), lengths.int(), blank=BLANK, clamp=-1, reduction="none"
    )
    return result


def measured(batch: int, frames: int, characters: int, alphabet: int, repeats: int) -> list[str]:
    """Return the cells of a size."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, frames, characters + 1, alphabet, generator=draw)
    targets = torch.randint(1, alphabet, (batch, characters), generator=draw)
    rest = (torch.full((batch,), frames), targets, torch.full((batch,), characters))
    ways: tuple[Loss, Loss] = (over_alphabet, transducer_loss)
    taken: tuple[list[float], list[float]] = ([], [])
    gradients = [torch.zeros(0), torch.zeros(0)]
    for _ in range(repeats):
        for place, way in enumerate(ways):
            given = logits.clone().requires_grad_()
            began = time.process_time()
            way(given, *rest).sum().backward()  # type: ignore[no-untyped-call]
            taken[place].append(time.process_time() - began)
            assert given.grad is not None
            gradients[place] = given.grad
    differ = float((gradients[0] - gradients[1]).abs().max())
    ratio = median(two / whole for whole, two in zip(*taken, strict=True))
    each = [f"{1000 * median(seconds) / batch:.2f}" for seconds in taken]
    return [f"{batch}, {frames}, {characters}, {alphabet}", *each, f"{ratio:.2f}", f"{differ:.0e}"]


def model_measured(name: str, config: ModelConfig, repeats: int) -> list[str]:
    """Return the cells of a model: forward and backward of a batch of 16 utterances of 2 s and 20 characters."""
    model = build_model(config, MEL, ALPHABET)
    assert isinstance(model, TransducerModel)
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(16, FRAMES, MEL, generator=draw)
    targets = torch.randint(1, ALPHABET, (16, CHARACTERS), generator=draw)
    lengths = torch.full((16,), CHARACTERS)
    batch = Batch(features, torch.full((16,), FRAMES), targets, lengths, 32.0, tuple(range(16)))
    ways: tuple[Loss, Loss] = (over_alphabet, transducer_loss)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for place, way in enumerate(ways):
            began = time.process_time()
            logits, frames = model.lattice(batch)
            way(logits, frames, targets, lengths).mean().backward()  # type: ignore[no-untyped-call]
            taken[place].append(time.process_time() - began)
    ratio = median(two / whole for whole, two in zip(*taken, strict=True))
    return [name, *(f"{1000 * median(seconds) / 16:.2f}" for seconds in taken), f"{ratio:.2f}", "—"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    small = TransducerConfig(prediction=64, context=1, joint=64)
    models = {
        "model of PATE": ModelConfig(
            name="rnnt", encoder="blstm", channels=[32, 48], hidden=48, layers=1, transducer=small
        ),
        "default model": ModelConfig(name="rnnt"),
    }
    body = [measured(*size, given.repeats) for size in SIZES]
    print(grid(HEAD, body + [model_measured(name, config, given.repeats) for name, config in models.items()]))


if __name__ == "__main__":
    main()
