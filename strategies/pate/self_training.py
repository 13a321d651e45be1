"""Self-training: the student labels public speech that has no released label, and learns the surest part of it too.

What the teachers released is paid for already, and nothing else private is read, so it costs no privacy. In every
stage the student labels anew, and keeps a larger part of its labels, the surest first (curriculum labelling,
Cascante-Bonilla et al., arXiv 2001.06001, but that the student goes on where it was: with few labels, starting anew
took several times the steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedasr.data.ctc_frames import frames_needed
from fedasr.models.base import SpeechModel
from fedasr.models.confidence import of_transcripts
from fedasr.typing import Floats

from .public import Ids, PublicSpeech

LEAST_LABELS = 16
"""Released labels that make a first stage, where the config does not say. Measured with RNN-T: students of
8 and 13 ended where the start alone does or above, one of 16 well below (docs/results/pate.md)."""


@dataclass(frozen=True)
class Stage:
    """Rounds in which the student learns one set of labels.

    Attributes:
        number: counted from 0, the stage of released labels alone.
        before: rounds of the stages before it.
        rounds: of its own.
        share: of what the student can label by itself that it learns: k/(n + 1) in the k-th of n stages after the
            first, so that it never learns what it is least sure of.
    """

    number: int
    before: int
    rounds: int
    share: float


def stage_of(round: int, rounds: int, stages: int, left_out: int = 0) -> Stage:
    """Return the stage that a round belongs to; stages differ by one round at most.

    Args:
        round: counted from 1.
        rounds: of the whole run, as many as there are stages at least.
        stages: the first, which learns released labels alone, and those after it.
        left_out: how many of the first stages are left out; their rounds go to the others.
    """
    kept = stages - left_out
    place = (round * kept - 1) // rounds
    before, end = place * rounds // kept, (place + 1) * rounds // kept
    number = left_out + place
    return Stage(number, before, end - before, number / stages)


def own_labels(public: PublicSpeech, model: SpeechModel, rows: Ids, share: float) -> dict[int, str]:
    """Return what a student hears in the public speech of which it is surest: its text by row of the whole corpus.

    With unit ``utterance`` it chooses among the candidates, as a teacher does, otherwise it decodes greedily.

    Args:
        public: the speech.
        model: the student, on the device on which it is to run.
        rows: without a released label, shape ``(rows,)``.
        share: of those in which something is heard, between 0 and 1.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    run = public.run
    size = run.config.evaluate.batch_size
    phrases = [run.tokenizer.encode(text) for text in public.candidates]
    heard: list[tuple[int, str]] = []
    sureness: list[Floats] = []
    for first in range(0, len(rows), size):
        labels, sure = hear(public, model, phrases, rows[first : first + size])
        heard += labels
        sureness.append(sure)
    if not heard:
        return {}
    surest = np.argsort(-np.concatenate(sureness), kind="stable")[: int(np.ceil(share * len(heard)))]
    return dict(heard[place] for place in sorted(surest.tolist()))


def hear(
    public: PublicSpeech, model: SpeechModel, phrases: Sequence[Sequence[int]], rows: Ids
) -> tuple[list[tuple[int, str]], Floats]:
    """Return row and text of every utterance of a batch in which something fitting is heard, and how sure that is."""
    run = public.run
    batch = public.whole.batch(rows)
    if not len(batch):  # nothing of it can be decoded, and ``data.on_bad_audio`` is ``skip``
        return [], np.zeros(0)
    tokens: Sequence[Sequence[int]]
    with model.as_it_decodes():
        encoded = model.encode(batch.to(next(model.parameters()).device))
        if run.config.pate.unit == "utterance":
            share = run.config.pate.internal_lm
            bonus = -share * model.internal_lm(phrases) if share else None
            chosen = model.likeliest_phrases(encoded, phrases, bonus)
            tokens = [phrases[best] if best >= 0 else [] for best in chosen]
        else:
            tokens = model.greedy(encoded)
        sure = of_transcripts(model, encoded, tokens)
    texts = [run.tokenizer.decode(list(sequence)) for sequence in tokens]
    # A label needs its frames, else no alignment exists and nothing can be learnt from it.
    fits = [
        bool(text) and np.isfinite(value) and frames_needed(run.tokenizer.encode(text)) <= length
        for text, value, length in zip(texts, sure.tolist(), encoded.lengths.tolist(), strict=True)
    ]
    kept = np.flatnonzero(fits)
    return [(int(batch.indices[place]), texts[place]) for place in kept.tolist()], sure[kept]
