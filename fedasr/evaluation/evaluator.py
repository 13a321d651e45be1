"""Evaluate a model on rows of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedasr.config.schema import EvaluateConfig
from fedasr.data.speech import Speech
from fedasr.evaluation.wer import ErrorCounts, by_group, error_counts
from fedasr.models.base import SpeechModel
from fedasr.models.decoding.own import make_decoder
from fedasr.models.tokenizer import Tokenizer
from fedasr.training.local import normalised_loss


@dataclass(frozen=True)
class Evaluation:
    """Loss in nats per token (mean over utterances), errors, and errors by group: column → value → counts.

    ``rows``, ``references`` and ``hypotheses`` are of the utterances that were evaluated, in the order asked for.
    """

    loss: float
    errors: ErrorCounts
    groups: dict[str, dict[str, ErrorCounts]] = field(default_factory=dict)
    hypotheses: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    rows: npt.NDArray[np.integer] = field(default_factory=lambda: np.zeros(0, np.int64))


def evaluate(
    model: SpeechModel,
    speech: Speech,
    tokenizer: Tokenizer,
    rows: npt.NDArray[np.integer],
    config: EvaluateConfig,
    vocabulary: Sequence[str] = (),
    by: Sequence[str] = (),
    labels: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Evaluation:
    """Return the loss, WER and CER of ``model`` on the utterances ``rows``.

    Args:
        model: any.
        speech: where the utterances are.
        tokenizer: the model's.
        rows: of the corpus, distinct, shape ``(utterances,)``.
        config: section ``evaluate``.
        vocabulary: the phrases of decoder ``vocabulary``.
        by: columns of the corpus whose values get a WER of their own.
        labels: further groups: name → the value of each row, shape ``(utterances,)``.

    Raises:
        InputError: the audio of an utterance cannot be used, and ``data.on_bad_audio`` is ``stop``.
    """
    model.eval()
    device = next(model.parameters()).device
    order = np.argsort(speech.durations[rows], kind="stable")
    decoder = make_decoder(config, tokenizer)
    loss = 0.0
    decoded: dict[int, str] = {}
    with torch.inference_mode():
        for start in range(0, len(rows), config.batch_size):
            part = order[start : start + config.batch_size]
            batch = speech.batch(rows[part]).to(device)
            if not len(batch):
                continue
            loss += float(normalised_loss(model, batch).sum())
            texts = model.hypotheses(batch, tokenizer, decoder, beam=config.beam, vocabulary=vocabulary)
            decoded.update(zip(batch.indices, texts, strict=True))
    # Utterances whose audio turned out to be bad were skipped.
    kept = np.array([place for place, row in enumerate(rows.tolist()) if row in decoded], np.int64)
    rows = rows[kept]
    hypotheses = [decoded[row] for row in rows.tolist()]
    transcripts = speech.corpus.columns["text"]
    references = [tokenizer.normalise(str(transcripts[row])) for row in rows]
    values = {column: speech.corpus.columns[column][rows] for column in by}
    values.update({name: label[kept] for name, label in (labels or {}).items()})
    groups = {
        name: by_group(references, hypotheses, [str(value) for value in column]) for name, column in values.items()
    }
    mean = loss / len(rows) if len(rows) else float("nan")
    errors = error_counts(references, hypotheses)
    return Evaluation(mean, errors, groups, tuple(hypotheses), tuple(references), rows)
