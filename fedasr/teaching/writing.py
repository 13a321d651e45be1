"""A teacher labels utterances, and a store keeps what it says: part by part, and on from where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DataConfig
from fedasr.data.batches import Batch
from fedasr.data.corpus import Corpus
from fedasr.data.counterfactual import OtherVoice
from fedasr.data.posteriors import Header, PosteriorStore, ShardWriter
from fedasr.data.posteriors.shard import PREFIX
from fedasr.data.posteriors.store import keys_of
from fedasr.data.speech import Speech
from fedasr.teaching.asked import answers
from fedasr.teaching.teacher import Teacher

Rows = npt.NDArray[np.integer]

BATCH = 16
"""Utterances a batch. Fixed: the last bits of what a model says depend on its company."""


@dataclass(frozen=True)
class Part:
    """Which of the batches a process labels: every ``of``-th, from ``number``, counted from 0."""

    number: int = 0
    of: int = 1

    @property
    def folder(self) -> str:
        """The name of its shard."""
        return f"{PREFIX}{self.number:03d}-of-{self.of:03d}"


def planned(durations: npt.NDArray[np.floating], rows: Rows) -> list[Rows]:
    """Return the batches in which utterances are labelled, of similar length; the same whoever labels them."""
    ordered = rows[np.lexsort((rows, durations[rows]))]
    return np.split(ordered, range(BATCH, len(ordered), BATCH)) if len(ordered) else []


def in_other_voices(corpus: Corpus, header: Header) -> OtherVoice | None:
    """Return a corpus in the other voices in which the teacher hears it too; None where it hears none.

    Raises:
        InputError: it cannot be given them.
    """
    return None if header.counterfactual == "none" else OtherVoice(corpus, header.counterfactual)


def in_both(speech: Speech, other: Speech, rows: Rows) -> tuple[Batch, Batch]:
    """Return the utterances that can be decoded in both voices, in each."""
    batch, changed = speech.batch(rows), other.batch(rows)
    if batch.indices == changed.indices:
        return batch, changed
    there = sorted({*batch.indices} & {*changed.indices})
    return speech.batch(there), other.batch(there)


def write_part(
    teacher: Teacher,
    header: Header,
    corpus: Corpus,
    data: DataConfig,
    rows: Rows,
    folder: Path,
    part: Part = Part(),
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[int]:
    """Label what is not yet in the store; yield the utterances of this part that are left, batch by batch.

    The targets of an utterance are the same bytes for any number of parts, and after any number of stops.

    Args:
        teacher: who labels.
        header: of the store.
        corpus: has the utterances.
        data: section ``data`` of whoever has the corpus.
        rows: of the corpus.
        folder: of the store; made where it is not there.
        part: which batches.
        stopped: whether to end before all is labelled; asked after every batch.

    Raises:
        InputError: the store is of something else, or another process writes this part; or audio cannot be decoded, and
            ``data.on_bad_audio`` is ``stop``. Where it is ``skip``, such an utterance is stored without rows. Or the
            speech cannot be given other voices, or an utterance has other frames in its other voice.
    """
    other = in_other_voices(corpus, header)
    header.create(folder)
    device = next(teacher.model.parameters()).device
    speech = teacher.speech(corpus, data)
    other_speech = None if other is None else teacher.speech(other, data)
    keys = keys_of(corpus if other is None else other, rows)
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    with ShardWriter(folder / part.folder, header.layout) as shard:
        known = set(np.flatnonzero(PosteriorStore(folder).find(keys) >= 0).tolist())
        batches = [
            batch
            for batch in planned(speech.durations, rows)[part.number :: part.of]
            if any(place_of[row] not in known for row in batch.tolist())
        ]
        left = sum(map(len, batches))
        yield left
        nothing = {table: np.zeros(0, kind) for table, kind in header.layout.items()}
        for batch_rows in batches:
            if stopped():
                return
            batch, other_batch = speech.batch(batch_rows), None
            if other_speech is not None:
                batch, other_batch = in_both(speech, other_speech, batch_rows)
                other_batch = other_batch.to(device)
            answered = answers(teacher.model, batch.to(device), header, other_batch) if len(batch) else []
            result = dict(zip(batch.indices, answered, strict=True))
            for row in batch_rows.tolist():
                if place_of[row] not in known:
                    shard.add(keys[place_of[row]], result.get(row, nothing))
            shard.commit()
            left -= len(batch_rows)
            yield left
