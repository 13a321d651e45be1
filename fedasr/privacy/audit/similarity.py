"""How alike two recordings are: correlation, and correlation after time is warped."""

from __future__ import annotations

import numpy as np

from fedasr.typing import Floats, Integers


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation of two sequences of frames over what both have; 0 where one is constant.

    Args:
        first: ``(frames, mel)``.
        second: the same; the longer one is cut.
    """
    frames = min(len(first), len(second))
    a, b = (np.asarray(x[:frames], np.float64).ravel() for x in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else 0.0


def without_loudness(frames: Floats) -> Floats:
    """Return frames less their mean over the mel bands: where speech begins and ends is alike in all recordings."""
    return np.asarray(frames - frames.mean(axis=1, keepdims=True))


def aligned(first: Floats, second: Floats) -> tuple[Integers, Integers]:
    """Return the path of dynamic time warping (Sakoe and Chiba 1978): indices into both, equally many.

    Args:
        first: ``(frames, mel)``.
        second: ``(frames', mel)``; squared Euclidean distances are summed along the path.
    """
    squares = np.square(first).sum(1)[:, None] + np.square(second).sum(1) - 2 * first @ second.T
    rows, columns = squares.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(rows):
        for j in range(columns):
            total[i + 1, j + 1] = squares[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    path = [(rows - 1, columns - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        before = [(total[i, j], i - 1, j - 1), (total[i, j + 1], i - 1, j), (total[i + 1, j], i, j - 1)]
        _, i, j = min(before, key=lambda step: step[0])
        path.append((i, j))
    result = np.array(path[::-1])
    return result[:, 0], result[:, 1]


def warped_correlation(first: Floats, second: Floats) -> float:
    """Return the correlation of two sequences of frames along the path of dynamic time warping."""
    here, there = aligned(np.asarray(first, np.float64), np.asarray(second, np.float64))
    return correlation(first[here], second[there])
