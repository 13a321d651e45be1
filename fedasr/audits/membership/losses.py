"""Losses of utterances under models, in nats per token, dropout and label smoothing off."""

from __future__ import annotations

import numpy as np
import torch

from fedasr.data.batches import Batch
from fedasr.data.speech import Speech
from fedasr.evaluation.recognizer import KnownCharacters
from fedasr.models.base import SpeechModel
from fedasr.models.tokenizer import Tokenizer
from fedasr.typing import Floats, Integers


def batches_of(speech: Speech, rows: Integers, size: int) -> list[Batch]:
    """Return utterances as batches of about one length each; those that cannot be decoded are left out."""
    order = rows[np.argsort(speech.durations[rows], kind="stable")]
    made = (speech.without_damage().batch(order[start : start + size]) for start in range(0, len(order), size))
    return [batch for batch in made if len(batch)]


def losses(model: SpeechModel, tokenizer: Tokenizer, speech: Speech, batches: list[Batch], rows: Integers) -> Floats:
    """Return the loss of each utterance, shape ``(rows,)``; NaN where it could not be decoded.

    Args:
        model: any.
        tokenizer: the model's.
        speech: where the transcripts are.
        batches: the utterances, in any order.
        rows: which and in which order, each once.
    """
    texts = speech.corpus.columns["text"]
    known = KnownCharacters(tokenizer)
    result: dict[int, float] = {}
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            transcripts = [known.encode(str(texts[row])) for row in batch.indices]
            likely = model.transcript_log_probability(model.encode(batch), transcripts).tolist()
            result.update(
                (row, -score / max(1, len(transcript)))
                for row, score, transcript in zip(batch.indices, likely, transcripts, strict=True)
            )
    return np.array([result.get(int(row), np.nan) for row in rows])
