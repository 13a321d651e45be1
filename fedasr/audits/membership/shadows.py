"""Shadow models: the finished runs of a sweep that differ from the attacked run in their seed alone.

Another seed draws other members, another start, other cohorts and other noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedasr.config import Config
from fedasr.config.loading import get
from fedasr.config.schema import walk
from fedasr.errors import InputError
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.paths import is_file, is_folder
from fedasr.results.load import Run, load_run

FEWEST = 4
"""Shadow models below which nothing is known of how losses scatter."""
FREE = ("name", "seed", "log", "runtime.", "data.cache.", "evaluate.", "pate.store")
"""Keys in which a shadow model may differ: they change nothing that is learnt, but for the seed."""
READ = ("evaluate.held_out",)
"""Of those, keys in which it may not."""
SETTLED = ("model.alphabet", "privacy.noise_multiplier", "privacy.participations")
"""Keys that follow from the others and the speech where the config leaves them open."""


class Shadow:
    """A finished run as the attacks read it: its model, and what it drew.

    Raises:
        InputError: the folder holds no model.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.recognizer = Recognizer(run.path)
        self.experiment = Experiment(self.recognizer.config)


def shadows_of(target: Shadow, folder: Path) -> list[Shadow]:
    """Return the shadow models in a sweep's folder, in the order of their names.

    Args:
        target: the run that is attacked; it is none of them.
        folder: with a run folder a run.

    Raises:
        InputError: there are too few, or they heard other speech.
    """
    if not is_folder(folder):
        raise InputError("no such folder; expected that of a sweep, made by 'fedasr sweep'", where=str(folder))
    places = sorted(path for path in folder.iterdir() if is_file(path / "config.yaml"))
    shadows: list[Shadow] = []
    seeds = {target.recognizer.config.seed}
    other = ""
    for place in places:
        run = load_run(place)
        if place.resolve() == target.run.path.resolve() or not run.finished:
            continue
        shadow = Shadow(run)
        difference = differing(target.recognizer.config, shadow.recognizer.config)
        seed = shadow.recognizer.config.seed
        if difference is not None:
            other = other or f"; {place.name} differs in '{difference}'"
        elif seed not in seeds:  # once more the same would count twice
            seeds.add(seed)
            check_same_speech(target, shadow)
            shadows.append(shadow)
    if len(shadows) < FEWEST:
        raise InputError(
            f"has {len(shadows)} finished runs of {len(places)} that differ from {target.run.path} in their seed alone;"
            f" expected at least {FEWEST} shadow models{other}",
            where=str(folder),
        )
    return shadows


def differing(one: Config, other: Config) -> str | None:
    """Return the first key that makes two runs differ in more than their seed; None: there is none."""
    for name, _ in walk():
        if name.startswith(FREE) and name not in READ:
            continue
        open_noise = name in SETTLED[1:] and one.privacy.epsilon is not None
        if name == SETTLED[0] or open_noise:
            continue
        if get(one, name) != get(other, name):
            return name
    return None


def check_same_speech(target: Shadow, shadow: Shadow) -> None:
    """Raise where two runs do not read the same utterances.

    Raises:
        InputError: saying what to set.
    """
    first, second = target.experiment.corpus, shadow.experiment.corpus
    same = len(first) == len(second) and all(
        np.array_equal(np.asarray(first.columns[name]), np.asarray(second.columns[name]))
        for name in ("speaker", "text")
    )
    if same and first.content_key(0) == second.content_key(0):
        return
    advice = (
        "set data.synthetic.seed, so that runs of all seeds hear the same speakers"
        if target.recognizer.config.data.corpus == "synthetic"
        else "shadow models are trained on the same corpus"
    )
    raise InputError(f"has other speech than {target.run.path}; {advice}", where=str(shadow.run.path))
