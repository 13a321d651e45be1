"""What a step of DP-SGD hears of the speech that it has drawn: each utterance by draws of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from fedasr.data.augment import is_active
from fedasr.data.batches import Batch
from fedasr.data.speech import Speech
from fedasr.privacy.dpsgd import Where

Draws = Callable[[int], np.random.Generator]
"""The generator of an utterance, by its row."""


def augmenting(speech: Speech, where: Where, step: int) -> Draws | None:
    """Return what augments the utterances of a step, each from a generator of its own; None: nothing does.

    It follows from the utterance's content, not from its row or place: with one utterance less all others keep theirs.
    """
    if not is_active(speech.config.augment):
        return None
    corpus = speech.corpus
    source = where.randomness.derived("dp-sgd augmentation", where.round, where.client, step)

    def draws(row: int) -> np.random.Generator:
        content = hashlib.blake2b(corpus.content_key(row), digest_size=15)
        content.update(speech.transcripts([row])[0].encode())
        return source.generator("content", int.from_bytes(content.digest(), "little"))

    return draws


def drawn(
    speech: Speech,
    rows: npt.NDArray[np.integer],
    groups: Sequence[npt.NDArray[np.int64]],
    draws: Draws | None,
    device: torch.device,
) -> Iterator[Batch]:
    """Yield the batches of a step, those that nobody was drawn into left out: they add nothing.

    Args:
        speech: of the corpus.
        rows: of the corpus, that may be drawn.
        groups: what ``dpsgd.draw`` returned, positions in ``rows``.
        draws: of ``augmenting``.
        device: where the model is.
    """
    for positions in groups:
        if len(positions):
            yield speech.batch(rows[positions], draws).to(device)
