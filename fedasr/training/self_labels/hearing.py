"""What a model hears, how sure it is of it, and whether it could be learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedasr.data.batches import Batch
from fedasr.data.ctc_frames import frames_needed
from fedasr.models.base import Encoded, SpeechModel
from fedasr.models.confidence import of_transcripts
from fedasr.models.ctc import CTC
from fedasr.models.hybrid import HybridModel
from fedasr.models.tokenizer import BLANK, Tokenizer
from fedasr.typing import Floats

Decoding = Callable[[Encoded], Sequence[Sequence[int]]]
"""The tokens of each utterance."""


@dataclass(frozen=True)
class Hypotheses:
    """What was heard in utterances, in the order of ``rows``; arrays of shape ``(utterances,)``."""

    rows: tuple[int, ...]
    """of the corpus; without those whose audio could not be used"""
    texts: tuple[str, ...]
    confidence: Floats
    """probability of the hypothesis, as a geometric mean over its tokens and the end"""
    fits: npt.NDArray[np.bool_]
    """whether there are as many frames as the text's tokens need; else no alignment exists and nothing is learnt"""
    frames: int = 0
    """output frames of a CTC head, where there is one"""
    blanks: int = 0
    """how many of them have the blank for their likeliest token"""

    @classmethod
    def joined(cls, parts: Sequence[Hypotheses]) -> Hypotheses:
        """Return the hypotheses of several batches as one."""
        return cls(
            tuple(row for part in parts for row in part.rows),
            tuple(text for part in parts for text in part.texts),
            np.concatenate([np.zeros(0), *(part.confidence for part in parts)]),
            np.concatenate([np.zeros(0, np.bool_), *(part.fits for part in parts)]),
            sum(part.frames for part in parts),
            sum(part.blanks for part in parts),
        )


def hear(model: SpeechModel, batch: Batch, tokenizer: Tokenizer, decode: Decoding | None = None) -> Hypotheses:
    """Return what a model hears in a batch; dropout is off.

    Args:
        model: any family.
        batch: on the model's device; targets are not read.
        tokenizer: of the model.
        decode: how hypotheses are found; None: greedily.
    """
    if not len(batch):  # nothing of it can be decoded, and ``data.on_bad_audio`` is ``skip``
        return Hypotheses.joined([])
    with model.as_it_decodes():
        encoded = model.encode(batch)
        tokens = (decode or model.greedy)(encoded)
        sure = of_transcripts(model, encoded, tokens)
        blanks, frames = blank_frames(model, encoded)
    texts = tuple(tokenizer.decode(list(sequence)) for sequence in tokens)
    room = model.output_frames(batch.feature_lengths.cpu()).tolist()
    needed = [frames_needed(tokenizer.encode(text)) if text else 0 for text in texts]
    return Hypotheses(batch.indices, texts, sure, np.array(needed) <= np.array(room), frames, blanks)


def blank_frames(model: SpeechModel, encoded: Encoded) -> tuple[int, int]:
    """Return in how many frames the blank is likeliest, and of how many; 0 of 0 where a model has no CTC head."""
    if isinstance(model, CTC):
        log_posteriors = encoded.frames
    elif isinstance(model, HybridModel):
        log_posteriors = model.log_probabilities(encoded)
    else:
        return 0, 0
    there = torch.arange(log_posteriors.shape[1], device=log_posteriors.device) < encoded.lengths[:, None]
    blank = (log_posteriors.argmax(dim=2) == BLANK) & there
    return int(blank.sum()), int(there.sum())
