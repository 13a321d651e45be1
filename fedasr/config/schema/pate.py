"""Keys of section ``pate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.client import TrainingConfig
from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key, part
from fedasr.config.schema.synthetic import SyntheticConfig

LEAST_NOISE, LARGEST_NOISE = 1e-6, 1e7
"""On votes: the squares are numbers, and a teacher's share fits into its fixed point."""
CONFIDENT = when(".mechanism", "confident-gnmax", refused=True)
UTTERANCE = when(".unit", "utterance", refused=True)


@dataclass
class PublicSpeechConfig:
    """Public speech, whose labels the teachers vote on; features and augmentation are those of `data`."""

    corpus: str = key(
        "synthetic",
        "where it comes from; `synthetic` has speakers of its own, whatever the private corpus",
        choices=("synthetic", "manifest", "librispeech", "speechcommands", "commonvoice"),
        reference=True,
    )
    corpus_options: dict[str, Any] = key(dict, "as `data.corpus_options`")
    manifest: str | None = key(None, "the table of corpus `manifest`", when=when(".corpus", "manifest", refused=True))
    root: str | None = key(
        None,
        "the folder of a public corpus (librispeech, speechcommands, commonvoice)",
        when=when(".corpus", "librispeech", "speechcommands", "commonvoice", refused=True),
    )
    subset: str | None = key(None, "as `data.subset`", when=when(".corpus", "librispeech", "commonvoice", refused=True))
    where: dict[str, Any] = key(dict, "keep rows whose column has the value, or one of the listed values")
    split: str = key("train", "the split that is labelled")
    synthetic: SyntheticConfig = part(
        SyntheticConfig, "corpus `synthetic`", when=when("pate.public.corpus", "synthetic", refused=True)
    )


@dataclass
class StudentConfig(TrainingConfig):
    """Training of the student on the labelled public speech; a round is `epochs` passes."""

    optimizer: str = key("adamw", "the optimiser, which goes on from round to round", choices=("sgd", "adamw"))
    learning_rate: float = key(0.003, "learning rate", above=0)
    batch_size: int = key(16, "utterances a batch", low=1)
    answers: int = key(
        1,
        "soft mechanisms with unit `utterance`: how many of the likeliest answers the student learns of an utterance,"
        " one a pass, drawn by the released shares; 1: the winner alone",
        low=1,
        when=when("pate.mechanism", "soft-gaussian", "soft-laplace", refused=True),
    )
    self_training: int = key(
        0,
        "stages after the first: in each the student labels public speech that has no released label by itself and"
        " learns the surest part of it as well, in the k-th of n stages k/(n + 1). Costs no privacy. `rounds` are"
        " shared out among the stages, in each of which the schedule begins anew",
        low=0,
    )
    least_labels: int | None = key(
        None,
        "`self_training`: with fewer released labels than these the first stage is left out: a student of a handful of"
        " labels hears little else, so that the public initial model labels first; the better that is, the"
        " more of them; absent: 16",
        low=1,
        when=unless(".self_training", 0, refused=True),
    )
    unlabelled: int | None = key(
        None,
        "`self_training`: how many public utterances without a released label the student hears at most; absent: all",
        low=1,
        when=unless(".self_training", 0, refused=True),
    )


@dataclass
class PateConfig:
    """Strategy `pate`: clients are teachers, the server aggregates their votes; see `docs/pate.md`."""

    mechanism: str = key(
        "gnmax",
        "how a label is drawn from the votes: lnmax: the most voted after Laplace noise; gnmax: after Gaussian noise;"
        " confident-gnmax: only where a noisy check finds a consensus first; soft-gaussian, soft-laplace: from the"
        " average of the teachers' posteriors, with noise on each before averaging",
        choices=("lnmax", "gnmax", "confident-gnmax", "soft-gaussian", "soft-laplace"),
    )
    scale: float = key(
        10.0, "the noise on each count, in votes: λ of Laplace, σ of Gauss", low=LEAST_NOISE, high=LARGEST_NOISE
    )
    threshold: float | None = key(
        None,
        "`confident-gnmax`: votes that the most voted label must have, noise included; in votes",
        when=CONFIDENT,
    )
    threshold_scale: float | None = key(
        None,
        "`confident-gnmax`: standard deviation of the noise of that check, in votes",
        low=LEAST_NOISE,
        high=LARGEST_NOISE,
        when=CONFIDENT,
    )
    unit: str = key(
        "utterance",
        "what one vote is about: utterance: which of the candidates was said; token: what comes next after the"
        " tokens that are released already; frame: which token (or blank) an output frame has (`ctc`, `ctc-conformer`)",
        choices=("utterance", "token", "frame"),
    )
    candidates: list[str] = key(
        list,
        "`utterance`: what may have been said; empty: the distinct transcripts of the public corpus",
        when=UTTERANCE,
    )
    internal_lm: float = key(
        0.0,
        "`utterance`: how much of what a teacher expects before it hears anything is taken off its scores; one with few"
        " sentences of its own else hears those everywhere (`las`, `hybrid`, `rnnt`; `ctc` expects nothing)",
        low=0,
        high=1,
        when=UTTERANCE,
    )
    queries: int | None = key(
        None, "public utterances put to the teachers at most, drawn once with the seed; absent: all", low=1
    )
    min_confidence: float | None = key(
        None,
        "only utterances of which the public initial model is at least this sure are put to the teachers: its posterior"
        " of the likeliest candidate (`utterance`), or a token of what it hears (`token`, `frame`); costs nothing",
        low=0,
        high=1,
    )
    max_confidence: float | None = key(
        None,
        "only utterances of which the public initial model is at most this sure: those that teach something",
        low=0,
        high=1,
    )
    weights: dict[str, Any] = key(
        dict,
        "soft mechanisms: the weight of a teacher's posterior by the client's name, at most 1; others have 1. Public"
        " knowledge only: weights that follow from speech are not paid for",
        when=when(".mechanism", "soft-gaussian", "soft-laplace", refused=True),
    )
    budget: str = key(
        "data-independent",
        "which ε must stay within `privacy.epsilon`: the one that holds whatever the votes, or the one computed from"
        " them, with which more is labelled, and when labelling ends says something about the votes",
        choices=("data-independent", "data-dependent"),
    )
    noise_at: str = key(
        "server",
        "server: on the counts, by a server that is trusted with each vote; teachers: each adds a share to its own"
        " vote, so that nobody has the exact counts; with `secure_aggregation` the server sees the sum of such votes"
        " alone",
        choices=("server", "teachers"),
    )
    votes_from: str | None = key(
        None,
        "run folder whose votes are taken instead of asking teachers (unit `utterance`): to compare mechanisms, noise,"
        " budgets and students; `{seed}` in it stands for the seed; what is published of several such runs adds up,"
        " with `privacy.secret_noise` alone: noise from a seed is the same in all of them",
    )
    simulated_teachers: int | None = key(
        None,
        "`votes_from`: draw the votes of so many teachers from the shares of each query; absent: as cast",
        low=1,
        when=unless(".votes_from", None, refused=True),
    )
    store: str | None = key(
        None,
        "folder in which simulated teachers keep their models: runs that differ in the votes alone then train them"
        " once; absent: in the run folder, until the run is done",
    )
    public: PublicSpeechConfig = part(PublicSpeechConfig, "the public speech")
    student: StudentConfig = part(StudentConfig, "training of the student; `client` is that of the teachers")
