"""How far apart a model's posteriors are where the same words are said in several ways: a measure without errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from fedasr.data.speech import Speech
from fedasr.models.base import SpeechModel
from fedasr.models.decoding.prefixes import Prefixes
from fedasr.typing import Floats


def posteriors_along(
    model: SpeechModel, speech: Speech, rows: npt.NDArray[np.integer], batch_size: int
) -> dict[int, npt.NDArray[np.float32]]:
    """Return row → the log-posteriors of the next token after each beginning of its transcript, in nats.

    The end of the sentence is one of the tokens: the shape is ``(tokens of the transcript + 1, tokens)``. Utterances
    whose audio cannot be used are left out.

    Args:
        model: any family.
        speech: where the utterances are.
        rows: of the corpus, distinct, shape ``(utterances,)``.
        batch_size: utterances at a time.
    """
    result: dict[int, npt.NDArray[np.float32]] = {}
    order = np.argsort(speech.durations[rows], kind="stable")
    device = next(model.parameters()).device
    with torch.inference_mode(), model.as_it_decodes():
        for start in range(0, len(rows), batch_size):
            batch = speech.batch(rows[order[start : start + batch_size]]).to(device)
            if not len(batch):
                continue
            wanted = [
                tokens[:length] for tokens, length in
                zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
            ]  # fmt: skip
            walked = walk(model.prefixes(model.encode(batch)), wanted)
            result.update(zip(batch.indices, walked, strict=True))
    return result


def walk(prefixes: Prefixes, wanted: Sequence[Sequence[int]]) -> list[npt.NDArray[np.float32]]:
    """Return the log-posteriors after each beginning of each utterance's tokens.

    Args:
        prefixes: the empty prefix of each utterance.
        wanted: the tokens of each.
    """
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in wanted]
    rows = list(range(len(wanted)))
    for place in range(max(map(len, wanted), default=0) + 1):
        posteriors = prefixes.log_posteriors().cpu().numpy().astype(np.float32)
        for index, row in enumerate(rows):
            parts[row].append(posteriors[index])
        going = [index for index, row in enumerate(rows) if len(wanted[row]) > place]
        if not going:
            break
        rows = [rows[index] for index in going]
        prefixes = prefixes.extended(torch.tensor(going), torch.tensor([wanted[row][place] for row in rows]))
    return [np.stack(part) for part in parts]


LEAST = -100.0
"""Where a model holds a token to be impossible, its log-probability counts as this, so that divergences are finite."""


def kullback_leibler(log_posteriors: Sequence[npt.NDArray[np.floating]]) -> Floats:
    """Return KL(p‖q) in nats, the mean over all ordered pairs of several distributions; of two, half of Jeffreys'.

    Args:
        log_posteriors: two or more, each of shape ``(places, tokens)``.

    Returns:
        Shape ``(places,)``.
    """
    logs = np.maximum(np.stack([np.asarray(one, np.float64) for one in log_posteriors]), LEAST)
    each = np.exp(logs)
    count = len(logs)
    # Σ over pairs of p·(ln p − ln q): what each has with itself is zero, so that all pairs may be summed.
    own = count * (each * logs).sum(axis=(0, 2))
    crossed = (each.sum(axis=0) * logs.sum(axis=0)).sum(axis=1)
    return np.asarray(np.maximum(own - crossed, 0.0) / (count * (count - 1)), np.float64)


def jensen_shannon(log_posteriors: Sequence[npt.NDArray[np.floating]]) -> Floats:
    """Return the mean Kullback–Leibler divergence of several distributions from their mean, in nats.

    It is 0 where all are alike, and the logarithm of their number where no two have a token in common; unlike the
    divergence of one from another it is always finite.

    Args:
        log_posteriors: each of shape ``(places, tokens)``.

    Returns:
        Shape ``(places,)``.
    """
    logs = np.stack([np.asarray(one, np.float64) for one in log_posteriors])
    each = np.exp(logs)
    mean = each.mean(axis=0)
    ratio = np.where(each > 0, logs - np.log(np.maximum(mean, np.finfo(np.float64).tiny)), 0.0)
    return np.asarray(np.maximum((each * ratio).sum(axis=2).mean(axis=0), 0.0), np.float64)
