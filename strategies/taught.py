"""A run with a teacher: whether the two fit, and what the teacher says, stored before the first round."""

from __future__ import annotations

from pathlib import Path

from fedasr.data.posteriors import Header, PosteriorStore
from fedasr.data.posteriors.store import keys_of
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.ctc import CTC
from fedasr.models.hybrid import HybridModel
from fedasr.models.rnnt import TransducerModel
from fedasr.paths import of_seed
from fedasr.runtime.session import current
from fedasr.teaching.report import described
from fedasr.teaching.teacher import Teacher, digest_of_tokenizer, stride
from fedasr.teaching.writing import in_other_voices, write_part
from fedasr.training.local import chosen_device

from .lessons import FrameLessons, Lessons, NodeLessons, TextLessons
from .mixture import unlabelled_rows

POSTERIORS = "posteriors"
"""Folder of a run folder with what its teacher says."""


def teacher_of(experiment: Experiment) -> Teacher:
    """Return the teacher of a run, on the device of the run.

    Raises:
        InputError: its folder holds no finished run.
    """
    config = experiment.config
    assert config.distillation.teacher is not None
    folder = of_seed(config.distillation.teacher, config.seed)
    return Teacher(folder, chosen_device(config.runtime.device))


def header_of(teacher: Teacher, experiment: Experiment) -> Header:
    """Return what the store of a run must be of."""
    config = experiment.config.distillation
    return teacher.header(config.targets, config.top_k, config.beam, config.n_best, config.counterfactual)


def check_teacher(experiment: Experiment) -> None:
    """Raise where a run cannot learn from its teacher.

    Raises:
        InputError: the teacher's folder holds no finished run, the two do not fit, nothing is left to label, or the
            store is of something else or lacks utterances.
    """
    teacher = teacher_of(experiment)
    check_fit(teacher, experiment)
    rows = unlabelled_rows(experiment)
    if not len(rows):
        raise InputError(
            "'distillation.teacher' is set, but all speech has transcripts that are read, and nothing is left to label;"
            " set 'interleave.labelled_share', for example to 0.05, or leave transcripts empty in the manifest"
        )
    header = header_of(teacher, experiment)
    other = in_other_voices(experiment.corpus, header)
    store = experiment.config.distillation.store
    if store is None:
        return
    folder = of_seed(store, experiment.config.seed)
    header.check(folder)
    keys = keys_of(experiment.corpus if other is None else other, rows)
    missing = int((PosteriorStore(folder).find(keys) < 0).sum())
    if missing:
        raise InputError(
            f"lacks {missing} of the {len(rows)} utterances of this run; write them with 'fedasr posteriors write"
            f" {teacher.folder} --config CONFIG --out {folder}'",
            where=str(folder),
        )


def check_fit(teacher: Teacher, experiment: Experiment) -> None:
    """Raise where what a teacher says means something else to the student.

    Raises:
        InputError: naming what does not fit.
    """
    config, model = experiment.config, experiment.model()
    targets, where = config.distillation.targets, str(teacher.folder)
    if targets not in ("frames", "lattice"):
        return
    wanted = CTC if targets == "frames" else TransducerModel
    if not isinstance(model, wanted):
        kind = type(model).__name__
        raise InputError(
            f"'distillation.targets' is '{targets}', which a {kind} cannot learn; set distillation.targets=labels"
        )
    if digest_of_tokenizer(teacher.tokenizer) != digest_of_tokenizer(experiment.tokenizer):
        raise InputError(
            f"the teacher has other tokens ({teacher.tokenizer.size}) than the run ({experiment.tokenizer.size}); set"
            " 'model.alphabet' as the teacher's config.yaml has it, or distillation.targets=labels",
            where=where,
        )
    hops = teacher.config.data.features.hop_ms, config.data.features.hop_ms
    if hops[0] != hops[1] or stride(teacher.model) != stride(model):
        raise InputError(
            f"the teacher has another frame rate (a hop of {hops[0]:g} ms, 'model.strides'"
            f" {list(teacher.config.model.strides)}) than the run ({hops[1]:g} ms, {list(config.model.strides)}); set"
            " them alike, or distillation.targets=labels",
            where=where,
        )
    check_answers(teacher, experiment)


def check_answers(teacher: Teacher, experiment: Experiment) -> None:
    """Raise where a teacher cannot be asked for the targets, or its stored tail cannot be softened.

    Raises:
        InputError: naming the keys.
    """
    config = experiment.config.distillation
    if config.targets == "lattice":
        if not isinstance(teacher.model, TransducerModel):
            raise InputError("'distillation.targets' is 'lattice'; expected an rnnt teacher", where=str(teacher.folder))
        return
    if not isinstance(teacher.model, CTC | HybridModel):
        raise InputError(
            f"a {type(teacher.model).__name__} has no posteriors of frames; choose a CTC or hybrid teacher, or set"
            " distillation.targets=labels",
            where=str(teacher.folder),
        )
    classes = teacher.tokenizer.size
    if config.temperature != 1 and config.tail == "bucket" and config.top_k < classes - 1:
        raise InputError(
            f"'distillation.temperature' is {config.temperature:g}, and a stored tail cannot be softened; set"
            f" distillation.top_k={classes - 1} or more, distillation.tail=renormalise, or leave the temperature out"
        )


def store_written(experiment: Experiment, run_folder: Path) -> PosteriorStore | None:
    """Return the store of a run, its own written or gone on with; None where somebody asked to stop meanwhile.

    Raises:
        InputError: as ``write_part``.
    """
    config = experiment.config
    if config.distillation.store is not None:
        return PosteriorStore(of_seed(config.distillation.store, config.seed))
    teacher, rows, session = teacher_of(experiment), unlabelled_rows(experiment), current()
    folder, header = run_folder / POSTERIORS, header_of(teacher, experiment)
    stopped = session.stop.is_set
    left = list(write_part(teacher, header, experiment.corpus, config.data, rows, folder, stopped=stopped))
    if left[-1]:
        return None
    store = PosteriorStore(folder)
    session.watcher.note(f"the teacher has labelled {described(store)}")
    return store


def lessons_of(store: PosteriorStore, experiment: Experiment) -> Lessons:
    """Return what the student learns of a store.

    Raises:
        InputError: nothing can be learnt from it.
    """
    rows, targets = unlabelled_rows(experiment), experiment.config.distillation.targets
    lessons: Lessons
    if targets == "frames":
        lessons = FrameLessons(store, experiment, rows)
    elif targets == "lattice":
        lessons = NodeLessons(store, experiment, rows)
    else:
        lessons = TextLessons(store, experiment, rows, teacher_of(experiment).tokenizer)
    if not lessons.usable.any():
        raise InputError(
            "the teacher has heard nothing in the speech that could be learnt; lower 'distillation.min_confidence', or"
            " choose a better teacher",
            where=str(store.folder),
        )
    return lessons
