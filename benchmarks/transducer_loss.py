"""What the loss of a transducer costs: over blank and next token alone, beside over the whole alphabet.

    python -m benchmarks.transducer_loss

Both give the same losses and gradients and end in ``torchaudio.functional.rnnt_loss``; forward and backward, in turn,
one thread. A ratio is the median over the repeats of the CPU seconds of the first / of the second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torchaudio.functional import rnnt_loss

from benchmarks.tables import grid
from fedasr.models.rnnt import transducer_loss
from fedasr.models.tokenizer import BLANK

HEAD = ("batch, frames, characters, alphabet", "alphabet, ms an utterance", "two steps", "ratio", "gradients differ by")
SIZES = ((8, 50, 20, 29), (16, 50, 20, 29), (8, 100, 40, 29), (8, 50, 20, 64))

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def over_alphabet(
    logits: torch.Tensor, frames: torch.Tensor, targets: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the losses as torchaudio computes them from the logits, ``(batch,)``."""
    found: torch.Tensor = rnnt_loss(
        logits, targets.int(), frames.int(), lengths.int(), blank=BLANK, clamp=-1, reduction="none"
    )
    return found


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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(grid(HEAD, [measured(*size, given.repeats) for size in SIZES]))


if __name__ == "__main__":
    main()
