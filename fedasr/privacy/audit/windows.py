"""What a gradient of the first convolution says of its input: the windows that it read span the gradient's rows.

The gradient of the weights is Σ_t δ_t ⊗ window_t. Where an utterance has fewer windows than there are channels, its
windows lie in a known subspace; where it has fewer than there are features, neighbouring windows, which share frames,
and the silence before and after the utterance leave one sequence of frames, up to its scale. No optimisation is needed.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fedasr.typing import Floats

KERNEL = 3
"""Frames of a window."""
ITERATIONS = 6
RIDGE = 1e-10
"""Keeps the penalty positive definite: its smallest eigenvalue is zero where the input is found exactly."""


def outside(gradient: Floats, windows: int) -> Floats:
    """Return the quadratic form that punishes what lies outside the space of the windows, ``(3·mel, 3·mel)``.

    Directions count by how far they stand out of the noise, which shows in the directions beyond ``windows``.

    Args:
        gradient: of the weights, ``(channels, 3·mel)``, the three frames one after the other; any scale.
        windows: that were read.
    """
    _, values, directions = np.linalg.svd(gradient, full_matrices=False)
    rest = values[windows:] ** 2
    noise = 2 * float(rest.mean()) if len(rest) else 0.0
    squares = np.maximum(values[:windows] ** 2, np.finfo(np.float64).tiny)
    trusted = np.clip(1 - noise / squares, 0.0, 1.0)
    kept = directions[:windows]
    return np.asarray(np.eye(gradient.shape[1]) - (kept.T * trusted) @ kept)


def window_count(frames: int, stride: int) -> int:
    """Return how many windows a convolution of kernel 3 and padding 1 reads."""
    return -(-frames // stride)


def penalty(form: Floats, frames: int, stride: int, centred: bool) -> Floats:
    """Return the sum of a form over the windows of a sequence, ``(frames·mel, frames·mel)``.

    Args:
        form: of one window, ``(3·mel, 3·mel)``.
        frames: of the sequence.
        stride: of the convolution.
        centred: whether every mel band is known to have mean 0.
    """
    mel = len(form) // KERNEL
    blocks = form.reshape(KERNEL, mel, KERNEL, mel)
    total = np.zeros((frames, mel, frames, mel))
    for window in range(window_count(frames, stride)):
        places = [(tap, stride * window + tap - 1) for tap in range(KERNEL)]
        inside = [(tap, frame) for tap, frame in places if 0 <= frame < frames]
        for tap, frame in inside:
            for other, neighbour in inside:
                total[frame, :, neighbour] += blocks[tap, :, other]
    if centred:
        bands = np.arange(mel)
        total[:, bands, :, bands] += 1 / frames
    return total.reshape(frames * mel, frames * mel)


def likeliest_sequence(
    gradient: Floats, frames: int, stride: int, *, windows: int, centred: bool, rng: np.random.Generator
) -> Floats:
    """Return the frames that fit a gradient of the first convolution best, ``(frames, mel)``, of length 1.

    The sign is unknown.

    Args:
        gradient: of the weights, ``(channels, 3·mel)``; any scale.
        frames: of the utterance.
        stride: of the convolution.
        windows: of all utterances whose gradients are in the sum.
        centred: whether every mel band is known to have mean 0.
        rng: where the search begins.
    """
    form = penalty(outside(gradient, windows), frames, stride, centred)
    factor = cho_factor(form + RIDGE * np.eye(len(form)), overwrite_a=True, check_finite=False)
    result = rng.standard_normal((len(form), 2))
    for _ in range(ITERATIONS):
        result, _ = np.linalg.qr(cho_solve(factor, result, check_finite=False))
    # The columns span the two smallest eigenvalues: turn them to the eigenvectors.
    _, turned = np.linalg.eigh(result.T @ form @ result)
    return np.asarray((result @ turned[:, 0]).reshape(frames, -1))
