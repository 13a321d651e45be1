"""Frame posteriors as they are stored: the likeliest classes in half precision, and the mass of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.posteriors.layout import frame_type

FEW = 64
"""Classes that are sorted as fast as the largest are picked."""
LOWEST = float(np.finfo(np.float16).min)


def packed(log_posteriors: npt.NDArray[np.floating[Any]], top_k: int) -> npt.NDArray[Any]:
    """Return the rows of the frames of an utterance, shape ``(time,)``.

    Args:
        log_posteriors: ``(time, classes)``, in nats; each frame sums to one.
        top_k: classes to keep.
    """
    frames, classes = log_posteriors.shape
    rows = np.zeros(frames, frame_type(classes, top_k))
    if top_k >= classes:
        rows["logp"] = np.maximum(log_posteriors, LOWEST)
        return rows
    ids = largest(log_posteriors, top_k)
    rows["ids"] = ids
    rows["logp"] = np.maximum(np.take_along_axis(log_posteriors, ids, 1), LOWEST)
    others = log_posteriors.astype(np.float64)
    np.put_along_axis(others, ids, -np.inf, 1)
    with np.errstate(divide="ignore"):
        rows["rest"] = np.maximum(np.log(np.exp(others).sum(1)), LOWEST)
    return rows


def largest(log_posteriors: npt.NDArray[np.floating[Any]], top_k: int) -> npt.NDArray[np.int64]:
    """Return the ``top_k`` largest classes of each frame, the largest first, without sorting many others."""
    if log_posteriors.shape[1] <= FEW:
        return np.argsort(-log_posteriors, axis=1, kind="stable")[:, :top_k]
    ids = np.sort(np.argpartition(-log_posteriors, top_k - 1, axis=1)[:, :top_k], axis=1)
    order = np.argsort(-np.take_along_axis(log_posteriors, ids, 1), axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1)


def unpacked(
    rows: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return classes ``(time, k)``, their log-posteriors ``(time, k)`` and the log mass of the rest ``(time,)``.

    They sum to one again, which half precision does not quite. The rest is −∞ where all classes are stored.
    """
    logp = rows["logp"].astype(np.float64)
    if "ids" in (rows.dtype.names or ()):
        ids, rest = rows["ids"].astype(np.int64), rows["rest"].astype(np.float64)
    else:
        ids = np.broadcast_to(np.arange(logp.shape[1]), logp.shape)
        rest = np.full(len(rows), -np.inf)
    total = np.log(np.exp(logp).sum(1) + np.exp(rest))
    return ids, (logp - total[:, None]).astype(np.float32), (rest - total).astype(np.float32)
