"""Speech from a gradient: frames whose own gradient points where the received one does.

The distance is D = 1 − cos(ĝ, g). Its slope along the frames is a derivative of the gradient ĝ, which PyTorch does not
have for CTC or fused recurrences. A finite difference has it from two ordinary backward passes: with v = ∂D/∂ĝ,
∇ₓD ≈ [∇ₓL(θ + hv) − ∇ₓL(θ − hv)]/2h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.models.base import SpeechModel
from fedasr.models.convolutions import FrameConv1d
from fedasr.models.weights import Arrays
from fedasr.privacy.audit.windows import likeliest_sequence, window_count
from fedasr.training.local import Resident, normalised_loss
from fedasr.typing import Floats

STEP = 1e-4
"""Length of the finite difference as a share of the weights' norm; with 1e-3 kinks of ReLU falsify a fifth of it."""
SMALLEST_DEVIATION = 1e-3
EXACT = 1e-6
"""A distance that single precision cannot lower."""


@dataclass(frozen=True)
class Effort:
    """How hard an attack tries."""

    steps: int = 300
    """of Adam, from each start"""
    restarts: int = 1
    """random starts, beside that from the first convolution's windows"""
    rate: float = 0.1
    """Adam's, falling as a cosine"""
    smoothness: float = 1e-3
    """weight of the total variation"""

    @classmethod
    def checked(cls, steps: int, restarts: int) -> Effort:
        """Return the effort that a command line asks for.

        Raises:
            InputError: there are no steps, or a negative number of starts.
        """
        if steps < 1:
            raise InputError(f"'--steps' is {steps}; expected a whole number of at least 1")
        if restarts < 0:
            raise InputError(f"'--restarts' is {restarts}; expected a whole number of at least 0")
        return cls(steps, restarts)


@dataclass(frozen=True)
class Rebuilt:
    """What an attack made of a gradient."""

    frames: tuple[Floats, ...]
    """of each utterance, ``(frames, mel)``"""
    distance: float
    """1 − cosine of the gradients"""
    start: str
    """``windows`` or ``random``: where the best one began"""


class Matcher:
    """Rebuilds the utterances of one gradient.

    Args:
        model: the recogniser; its weights are replaced.
        weights: at which the gradient was taken.
        known: the utterances' lengths and transcripts; their features are not read.
        weighting: what each utterance counts in the gradient, shape ``(utterances,)``.
        normalised: whether every mel band of an utterance is known to have mean 0 and variance 1.
    """

    def __init__(
        self, model: SpeechModel, weights: Arrays, known: Batch, weighting: torch.Tensor, normalised: bool
    ) -> None:
        self.resident = Resident(model)
        self.resident.load(weights)
        model.eval()
        self.known = known
        self.weighting = weighting
        self.normalised = normalised
        self.theta = self.resident.parameters.clone()
        frames = int(known.features.shape[1])
        self.mask = (torch.arange(frames) < known.feature_lengths.unsqueeze(1)).unsqueeze(2).float()

    def loss(self, features: torch.Tensor) -> torch.Tensor:
        """Return the weighted loss of guessed frames, a scalar."""
        losses = normalised_loss(self.resident.model, replace(self.known, features=features))
        return (losses * self.weighting).sum()

    def slope(self, features: torch.Tensor, gradient: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return the distance of guessed frames from a gradient of length 1, and its slope along the frames."""
        guess = features.detach().requires_grad_(True)
        resident = self.resident
        resident.gradient.zero_()
        self.loss(guess).backward()  # type: ignore[no-untyped-call]
        own = resident.gradient.double()
        norm = own.norm().clamp(min=1e-30)
        cosine = float(torch.dot(own, gradient) / norm)
        direction = (cosine * own / norm - gradient) / norm
        step = STEP * float(self.theta.norm()) / max(float(direction.norm()), 1e-30)
        ahead, back = (self._pull(guess, direction, sign * step) for sign in (1, -1))
        with torch.no_grad():
            resident.parameters.copy_(self.theta)
        return 1 - cosine, (ahead - back) / (2 * step)

    def _pull(self, guess: torch.Tensor, direction: torch.Tensor, step: float) -> torch.Tensor:
        """Return the slope of the loss along the frames with the weights moved."""
        with torch.no_grad():
            self.resident.parameters.copy_(self.theta).add_(direction.float(), alpha=step)
        [result] = torch.autograd.grad(self.loss(guess), guess)
        return result

    def starts(self, vector: Floats, restarts: int, seed: int) -> list[tuple[str, torch.Tensor]]:
        """Return where to begin: the windows of the first convolution, with either sign, and noise."""
        rng = np.random.default_rng(seed)
        shape = tuple(self.known.features.shape)
        result = []
        spectral = self._windows(vector, rng)
        if spectral is not None:
            result += [("windows", spectral), ("windows", -spectral)]
        for _ in range(restarts):
            result.append(("random", torch.from_numpy(rng.standard_normal(shape).astype(np.float32))))
        return [(name, self.normal(start)) for name, start in result]

    def _windows(self, vector: Floats, rng: np.random.Generator) -> torch.Tensor | None:
        """Return the frames that the first convolution's gradient tells, up to sign; None without such a layer."""
        subsampling = getattr(self.resident.model, "subsampling", None)
        first = subsampling.convolutions[0] if subsampling is not None else None
        kernel = self.resident.layout.views(vector).get("subsampling.convolutions.0.weight")
        if not isinstance(first, FrameConv1d) or kernel is None:
            return None
        stride = first.stride[0]
        rows = kernel.transpose(0, 2, 1).reshape(len(kernel), -1)
        lengths = self.known.feature_lengths.tolist()
        windows = sum(window_count(length, stride) for length in lengths)
        result = torch.zeros_like(self.known.features)
        for row, length in enumerate(lengths):
            frames = likeliest_sequence(rows, length, stride, windows=windows, centred=self.normalised, rng=rng)
            scaled = frames / max(float(frames.std()), 1e-12)
            result[row, :length] = torch.from_numpy(scaled.astype(np.float32))
        return result

    def normal(self, features: torch.Tensor) -> torch.Tensor:
        """Return frames as the config normalises them, with zeros in the padding."""
        kept = features * self.mask
        if not self.normalised:
            return kept
        lengths = self.known.feature_lengths.view(-1, 1, 1).float()
        rest = (kept - kept.sum(1, keepdim=True) / lengths) * self.mask
        deviation = (rest.square().sum(1, keepdim=True) / lengths).sqrt()
        return rest / deviation.clamp(min=SMALLEST_DEVIATION)

    def variation(self, features: torch.Tensor) -> torch.Tensor:
        """Return the slope of the total variation over time and bands, a mean over the entries."""
        guess = features.detach().requires_grad_(True)
        total = guess.diff(dim=1).abs().sum() + guess.diff(dim=2).abs().sum()
        [result] = torch.autograd.grad(total / guess.numel(), guess)
        return result * self.mask

    def rebuild(self, vector: Floats, effort: Effort, seed: int) -> Rebuilt:
        """Return the utterances that match a gradient best, of all starts and steps.

        Args:
            vector: the gradient, shape ``(parameters,)``; any positive scale.
            effort: how hard to try.
            seed: of the starts.
        """
        gradient = torch.from_numpy(vector / max(float(np.linalg.norm(vector)), 1e-30))
        best, distance, origin = torch.zeros_like(self.known.features), math.inf, "random"
        starts = self.starts(vector, effort.restarts, seed)
        signs = [self.slope(start, gradient)[0] for name, start in starts if name == "windows"]
        if signs:  # of the two signs only the better one is followed
            starts = [starts[int(np.argmin(signs))], *starts[2:]]
        for name, start in starts:
            if distance < EXACT:
                break
            guess, away = self._descend(start, gradient, effort)
            if away < distance:
                best, distance, origin = guess, away, name
        lengths = self.known.feature_lengths.tolist()
        frames = tuple(best[row, :length].double().numpy() for row, length in enumerate(lengths))
        return Rebuilt(frames, distance, origin)

    def _descend(self, start: torch.Tensor, gradient: torch.Tensor, effort: Effort) -> tuple[torch.Tensor, float]:
        """Return the best frames that Adam finds from a start, and their distance."""
        guess, best, distance = start, start, math.inf
        first, second = torch.zeros_like(start), torch.zeros_like(start)
        for step in range(1, effort.steps + 1):
            away, slope = self.slope(guess, gradient)
            if away < distance:
                best, distance = guess, away
            if distance < EXACT:
                break
            slope = slope + effort.smoothness * self.variation(guess)
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope.square()
            rate = 0.5 * effort.rate * (1 + math.cos(math.pi * step / effort.steps))
            change = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-12)
            guess = self.normal(guess - rate * change)
        return best, distance
