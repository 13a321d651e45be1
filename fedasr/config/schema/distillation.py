"""Keys of sections ``distillation`` and ``interleave``."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key

FRAMES = when(".targets", "frames", refused=True)
SEQUENCE = when(".targets", "sequence", refused=True)
TAUGHT = unless("distillation.teacher", None, refused=True)


@dataclass
class DistillationConfig:
    """A teacher labels speech, and a student learns what it says; see `docs/distillation.md`."""

    teacher: str | None = key(
        None,
        "the folder of a finished run, whose model labels the training speech that has no transcript: those of speakers"
        " outside `interleave.labelled_share`, and rows of a manifest whose `text` is empty; `{seed}` in it stands for"
        " the seed",
    )
    targets: str = key(
        "frames",
        "what the student learns: frames: the teacher's posteriors, frame by frame (both CTC; the teacher may be"
        " hybrid; same tokens and frame rate); lattice: those of the next token, the blank and the rest at each node of"
        " the lattice of what the teacher hears (both rnnt; same tokens and frame rate); sequence: the teacher's"
        " likeliest transcripts, one a pass, drawn by their probabilities (any families); labels: the transcript that"
        " it hears (any families)",
        choices=("frames", "lattice", "sequence", "labels"),
    )
    top_k: int = key(20, "tokens of each frame that are kept, the likeliest", low=1, when=FRAMES)
    tail: str = key(
        "bucket",
        "the mass of the other tokens: bucket: a class of its own; renormalise: left out, the rest made to add up to"
        " one",
        choices=("bucket", "renormalise"),
        when=FRAMES,
    )
    temperature: float = key(
        1.0,
        "both sides are softened by it, and the loss is multiplied by its square; other than 1 only with `tail:"
        " renormalise`, or where all tokens but one are kept: a stored tail cannot be softened",
        above=0,
        high=100,
        when=FRAMES,
    )
    shift_frames: int = key(
        0,
        "output frames by which the student is later than the teacher, which hears the future; below 0: earlier",
        low=-1000,
        high=1000,
        when=FRAMES,
    )
    counterfactual: str = key(
        "none",
        "the teacher also hears each utterance in another voice, and the mean of what it says of both is learnt in"
        " both: pitch, formant, age (any speech), device, gender, voice, accent, rate (synthetic speech), as of `fedasr"
        " fairness --counterfactual`; with `frames` the first three, with `sequence` and `labels` all, with `lattice`"
        " none",
        choices=("none", "pitch", "formant", "age", "gender", "voice", "accent", "device", "rate"),
    )
    beam: int = key(8, "`sequence`: width of the teacher's beam", low=1, when=SEQUENCE)
    n_best: int = key(4, "`sequence`: transcripts of each utterance", low=1, when=SEQUENCE)
    min_confidence: float = key(
        0.0,
        "`sequence`, `labels`: only speech of which the teacher is at least this sure is learnt: the probability of"
        " its likeliest transcript, as a geometric mean over the tokens and the end",
        low=0,
        high=1,
        when=when(".targets", "sequence", "labels", refused=True),
    )
    weight: float = key(
        1.0,
        "multiplies the loss on machine-labelled speech, whose gradients can be smaller than those of transcripts (a"
        " mean over frames or nodes, most of them blank). It moves the balance of the two in what the optimiser"
        " remembers; plain SGD takes longer steps, and clipping still bounds them",
        above=0,
    )
    store: str | None = key(
        None,
        "folder with what the teacher says, written before by `fedasr posteriors write`, which runs can share; absent:"
        " the run writes its own, `posteriors` in the run folder",
    )


@dataclass
class InterleaveConfig:
    """Speech with and without transcripts, side by side; see `docs/distillation.md`."""

    labelled_share: float = key(
        1.0,
        "share of the speakers of the training split whose transcripts are read, drawn once with the seed, at least"
        " one; the speech of the others is for `distillation.teacher` to label, and without one nobody trains on it",
        above=0,
        high=1,
    )
    labelled: int = key(
        1, "batches of transcribed speech in every `labelled` + `unlabelled` batches", low=0, when=TAUGHT
    )
    unlabelled: int = key(4, "batches of machine-labelled speech among them", low=1, when=TAUGHT)
    labelled_rate: float = key(
        1.0,
        "the learning rate of a step on transcribed speech, as a multiple of `client.learning_rate`. It scales the step"
        " itself: a larger loss would be undone by Adam and by clipping",
        above=0,
        when=TAUGHT,
    )
    order: str = key(
        "interleaved",
        "interleaved: each `labelled` + `unlabelled` batches come in an order drawn from the seed; segregated: first"
        " the rounds of machine-labelled speech, then those of transcribed speech, in the same ratio, to within a"
        " round",
        choices=("interleaved", "segregated"),
        when=TAUGHT,
    )
