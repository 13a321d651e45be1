"""The public speech that is labelled: who says it, what may have been said, its features as the teachers get them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config import Config
from fedasr.config.rules.public_speech import same_corpus
from fedasr.config.schema import DataConfig, PublicSpeechConfig
from fedasr.data.corpus import Corpus
from fedasr.data.quality import transcript_problem, usable_rows
from fedasr.data.relabelled import Relabelled
from fedasr.data.sources import open_corpus
from fedasr.data.speech import Speech
from fedasr.data.splits import PUBLIC_SPLIT
from fedasr.data.subset import Subset
from fedasr.errors import InputError, nearest
from fedasr.experiment import Experiment
from fedasr.protocol import Name

Ids = npt.NDArray[np.int64]

PUBLIC_JSON = "public.json"
"""File of a run folder that says what the rows of ``votes.npy`` and its columns are about."""


class PublicSpeech:
    """The utterances that the teachers are asked about, in the order in which they are.

    The transcripts of the public corpus are used twice: as candidates, where the config lists none (what can be said
    to a device is public), and to tell the experimenter how many labels are right. No label comes from them, and where
    they are not needed as candidates there may be none.

    Attributes:
        speech: of the drawn utterances, numbered from 0.
        truth: their transcripts; None: unknown.
        candidates: the phrases of unit ``utterance``.
        all: the public corpus, of which the drawn utterances are a part.
        drawn: rows of it in the order in which they come into question, shape ``(usable,)``.

    Raises:
        InputError: the corpus cannot be opened or used, or shares a speaker with the private corpus.
    """

    def __init__(self, run: Experiment) -> None:
        self.run = run
        self.config = public_data(run.config)
        corpus = open_public(run, self.config)
        splits = np.asarray(corpus.columns["split"])
        pate = run.config.pate
        self.read = pate.unit == "utterance" and not pate.candidates
        asked = splits == self.config.train_split
        if self.read and asked.any() and not any(corpus.columns["text"][asked].tolist()):
            raise InputError("the public speech has no transcripts; list what may have been said in 'pate.candidates'")
        usable, _ = usable_rows(corpus, self.config, run.tokenizer, run.model().output_frames, transcripts=self.read)
        rows = np.flatnonzero(asked & usable)
        if not len(rows):
            known = sorted({str(s) or "(none)" for s in np.unique(splits)})
            wanted = self.config.train_split
            raise InputError(
                f"'pate.public.split' is '{wanted}'{nearest(wanted, known)}, of which no utterance can be used; the"
                f" corpus has: {', '.join(known)}"
            )
        check_disjoint(run, corpus, rows)
        self.candidates = self.phrases(corpus.columns["text"][rows].tolist())
        self.filtered = pate.min_confidence is not None or pate.max_confidence is not None
        self.all = corpus
        self.drawn: Ids = seeds.generator(run.config.seed, "pate-queries").permutation(rows)
        self.rows = self.drawn
        self.keep(np.arange(len(rows) if self.filtered or pate.queries is None else min(pate.queries, len(rows))))

    def keep(self, places: Ids) -> None:
        """Leave some of the utterances, numbered anew from 0.

        Args:
            places: of the utterances so far, shape ``(kept,)``.
        """
        self.rows = self.rows[places]
        self.corpus = Subset(self.all, self.rows)
        self.truth = [self.transcript(row) for row in self.rows.tolist()]
        self.speech = self.without_transcripts(self.rows)

    @cached_property
    def whole(self) -> Speech:
        """The whole public corpus, numbered by its rows, without transcripts."""
        return self.without_transcripts(np.arange(len(self.all)))

    def without_transcripts(self, rows: Ids) -> Speech:
        """Return rows of the corpus as speech of which nobody can see what is said."""
        unknown = np.full(len(rows), "", object)
        return Speech(Relabelled(self.all, rows, unknown), self.run.tokenizer, self.config)

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.corpus)

    def phrases(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return the candidates: those of the config, else the distinct transcripts, sorted; other units have none.

        Raises:
            InputError: there are fewer than two, or one that the tokenizer does not know.
        """
        pate, tokenizer = self.run.config.pate, self.run.tokenizer
        if pate.unit != "utterance":
            return ()
        for phrase in pate.candidates:
            problem = transcript_problem(phrase, tokenizer)
            if problem is not None:
                raise InputError(f"'pate.candidates' has '{phrase}': {problem}")
        given = dict.fromkeys(tokenizer.normalise(phrase) for phrase in pate.candidates)
        candidates = tuple(given or sorted({tokenizer.normalise(str(text)) for text in texts}))
        if len(candidates) < 2:
            raise InputError("there is one candidate only; list what may have been said in 'pate.candidates'")
        return candidates

    def described(self) -> dict[str, list[str]]:
        """Return what the votes are about, for ``PUBLIC_JSON``: a digest of each utterance, and the candidates."""
        digests = [self.corpus.content_key(row).hex() for row in range(len(self))]
        return {"speech": digests, "candidates": list(self.candidates)}

    def features(self, utterances: Ids) -> dict[str, npt.NDArray[Any]]:
        """Return what teachers are sent of utterances: ``frames (total, mel)`` one after the other, and ``lengths``.

        Raises:
            InputError: one cannot be decoded.
        """
        batch = self.speech.batch(utterances)
        if len(batch) < len(utterances):
            missing = next(u for u in utterances.tolist() if u not in batch.indices)
            raise InputError("cannot be decoded; remove it from the public speech", where=self.corpus.where(missing))
        lengths = batch.feature_lengths.numpy()
        frames = [batch.features[row, :length].numpy() for row, length in enumerate(lengths.tolist())]
        return {Name.FRAMES: np.concatenate(frames), Name.LENGTHS: lengths}

    def labelled(self, labels: Mapping[int, str], more: Mapping[int, str] | None = None) -> Labelled:
        """Return the utterances that have a label, with it for their transcript; augmented as ``data.augment`` says.

        Args:
            labels: of utterances.
            more: of rows of the whole corpus, which come after the others.
        """
        kept, more = sorted(labels), more or {}
        rows = np.array([*self.rows[kept].tolist(), *more], np.int64)
        texts = np.array([*(labels[utterance] for utterance in kept), *more.values()], object)
        return Labelled(Relabelled(self.all, rows, texts), self.run.tokenizer, self.config)

    def transcript(self, row: int) -> str | None:
        """Return the transcript of a row of the whole corpus, for the experimenter alone; None: it is unknown."""
        text = str(self.all.columns["text"][row])
        return None if transcript_problem(text, self.run.tokenizer) else self.run.tokenizer.normalise(text)

    def unlabelled(self, labels: Collection[int], most: int | None = None) -> Ids:
        """Return rows of the whole corpus without a label, in the order drawn, shape ``(rows,)``.

        Args:
            labels: the utterances that have one.
            most: how many at most; None: all.
        """
        taken = self.rows[sorted(labels)]
        return self.drawn[~np.isin(self.drawn, taken)][:most]


class Labelled(Speech):
    """Public speech with the labels that were released, which may be drawn anew for every pass."""

    corpus: Relabelled


def public_rows(run: Experiment) -> tuple[Corpus, Ids]:
    """Return the public corpus and the rows of it that may be labelled, sorted.

    Raises:
        InputError: as ``PublicSpeech``.
    """
    public = PublicSpeech(run)
    return public.all, np.sort(public.drawn)


def public_data(config: Config) -> DataConfig:
    """Return section ``data`` as it would be for the public speech."""
    public, data = config.pate.public, config.data
    other = data.test_split if public.split != data.test_split else data.train_split
    return replace(
        data,
        corpus=public.corpus,
        corpus_options=public.corpus_options,
        manifest=public.manifest,
        root=public.root,
        subset=public.subset,
        where=public.where,
        synthetic=public.synthetic,
        train_split=public.split,
        test_split=other,
        public_share=0.0,  # of another corpus all is public
        download=False,
    )


def shares_corpus(config: Config) -> bool:
    """Return whether the public speech is the part of the private corpus that ``data.public_share`` sets aside."""
    return same_corpus(config) and config.data.public_share > 0 and config.pate.public.split == PUBLIC_SPLIT


def open_public(run: Experiment, config: DataConfig) -> Corpus:
    """Return the public corpus: the private one where a part of it is set aside, otherwise another.

    Synthetic speakers of another are drawn with a seed of their own, so that no private one is among them, unless the
    config gives them one: then ``check_disjoint`` looks.
    """
    if shares_corpus(run.config):
        return run.corpus
    seed = run.config.seed
    if config.corpus == "synthetic":
        seed = seeds.torch_seed(seed, "pate-public")
    try:
        corpus: Corpus = open_corpus(config, seed)
    except InputError as error:
        problem = str(error)
        for item in fields(PublicSpeechConfig):
            problem = problem.replace(f"'data.{item.name}", f"'pate.public.{item.name}")
        raise InputError(problem, where=None if error.where is None else "") from None
    return corpus


def check_disjoint(run: Experiment, public: Corpus, rows: Ids) -> None:
    """Raise where a public speaker is also a teacher's, or one that the student is evaluated on.

    Synthetic speakers of another seed never are; names of different kinds of corpora do not compare.

    Raises:
        InputError: naming one.
    """
    data, given = run.config.data, run.config.pate.public
    seed = run.config.seed if data.synthetic.seed is None else data.synthetic.seed
    rendered_apart = data.corpus == "synthetic" and given.synthetic.seed != seed
    other = data.corpus != given.corpus or rendered_apart
    if other and not shares_corpus(run.config):
        return
    speakers = set(public.columns["speaker"][rows].tolist())
    for split, whose in ((data.train_split, "the teachers were trained on"), (data.test_split, "is evaluated on")):
        held = set(run.corpus.columns["speaker"][run.rows(split)].tolist())
        if common := sorted(map(str, speakers & held)):
            raise InputError(
                f"'pate.public' has {len(common)} of the speakers that {whose}, such as '{common[0]}'; public speech"
                " must be of other speakers: choose another split, or others by 'pate.public.where', or set some of"
                " them aside with 'data.public_share' and choose split 'public'"
            )
