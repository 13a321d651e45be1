"""What the study of leakage trains: a cell is one corpus, one family, one way of training, one ε and one seed.

The sizes are what one slow core trains in about twenty seconds; the public initial models take a minute, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Tree = dict[str, Any]

EPSILONS = (10.0, 8.0, 4.0, 1.0)
FAMILIES: dict[str, Tree] = {
    "ctc": {"name": "ctc", "encoder": "blstm", "channels": [16, 24], "hidden": 32, "alphabet": "latin"},
    "rnnt": {
        "name": "rnnt",
        "encoder": "blstm",
        "channels": [16, 24],
        "hidden": 32,
        "alphabet": "latin",
        "transducer": {"prediction": 32, "joint": 32},
    },
}
FEATURES: dict[str, Tree] = {"ctc": {}, "rnnt": {"hop_ms": 20, "window_ms": 40}}
"""A transducer needs no frame for each character, and costs half with half the frames."""
ROOM: Tree = {"min_snr_db": 3, "max_snr_db": 20}
"""Noisy rooms, which the public initial model has never heard: what private training is for."""
WORDLESS: Tree = {"activity": "constant", "test_speakers": 24, "test_utterances_per_speaker": 4}
PRIVATE: dict[str, Tree] = {
    "digits": {
        "corpus": "synthetic",
        "synthetic": {
            **WORDLESS,
            **ROOM,
            "grammar": "digits",
            "speakers": 160,
            "utterances_per_speaker": 5,
            "activity": "lognormal",
            "seed": 1,
        },
        "on_bad_audio": "skip",
    },
    "home": {
        "corpus": "synthetic",
        "synthetic": {**WORDLESS, **ROOM, "grammar": "home", "speakers": 80, "utterances_per_speaker": 4, "seed": 1},
        "on_bad_audio": "skip",
    },
    "commands": {
        "corpus": "manifest",
        "manifest": "${oc.env:FEDASR_DATA,../shared/data}/speech_commands_v2_testset_mini/manifest.csv",
        "on_bad_audio": "skip",
    },
    "sentences": {
        "corpus": "manifest",
        "manifest": "${oc.env:FEDASR_DATA,../shared/data}/speechocean762_mini/manifest.csv",
        "max_seconds": 3.5,
        "on_bad_audio": "skip",
    },
}
"""All seeds hear the same speech; they differ in who is a member, the order, the cohorts and the noise."""
PUBLIC: dict[str, Tree] = {
    "digits": {**WORDLESS, "grammar": "digits", "speakers": 60, "utterances_per_speaker": 10, "device": False},
    "home": {**WORDLESS, "grammar": "home", "speakers": 60, "utterances_per_speaker": 10, "device": False},
    "commands": {**WORDLESS, "grammar": "keywords", "speakers": 120, "utterances_per_speaker": 10, "clip_seconds": 1.0},
    "sentences": {**WORDLESS, "grammar": "everyday", "speakers": 60, "utterances_per_speaker": 10},
}
"""What the public initial model hears: studio voices, and no real speech."""
PUBLIC_PASSES = 14
MORE_FOR_TRANSDUCERS = 2
"""Twice the digit strings: of fewer the prediction network learns too many by heart."""
CODED = ("digits", "home")
"""Where codes are said: in ``home`` the digits of the codes are words that nothing else says."""
CODES: Tree = {"codes": 10, "digits": 2, "repeats": 16}
PLAIN, START, DROPOUT, EARLY, CLIPPED = "pooled", "initial model", "dropout", "early stopping", "clipping"
LONG = "DP-SGD, many steps"
FEDAVG, DP_FEDAVG, DP_SGD, PATE = "FedAvg", "DP-FedAvg", "DP-SGD", "PATE"
ROUNDS = {"ctc": 40, "rnnt": 24}
"""Passes over the pooled speech without privacy; a transducer's cost twice as much, and it learns by heart sooner."""
COHORT = {"digits": 80, "home": 40, "commands": 83, "sentences": 40}
SERVER_RATES = {None: 1.0, 10.0: 0.6, 8.0: 0.5, 4.0: 0.25, 1.0: 0.1}
RATES = {None: 0.5, 10.0: 0.5, 8.0: 0.5, 4.0: 0.35, 1.0: 0.15}
SCALES = {None: 1e-6, 10.0: 6.0, 8.0: 7.0, 4.0: 12.0, 1.0: 25.0}
"""Of PATE's noise, in votes: as many of the queries as possible are answered within ε."""
NO_NOISE = 1e-9


@dataclass(frozen=True)
class Cell:
    """One model of the study.

    Args:
        data: ``digits``, ``commands`` or ``sentences``.
        family: ``ctc`` or ``rnnt``.
        training: how.
        epsilon: that is asked for; None: ∞.
        seed: of everything but the public initial model.
        half: ``a`` or ``b``: on every other speaker alone, for model inversion; empty: on all.
    """

    data: str
    family: str
    training: str
    epsilon: float | None = None
    seed: int = 1
    half: str = ""

    @property
    def name(self) -> str:
        """Return the name of its folder."""
        how = self.training.lower().replace(",", "").replace(" ", "-")
        budget = "" if self.epsilon is None else f"-eps{self.epsilon:g}"
        half = f"-half-{self.half}" if self.half else ""
        return f"{self.data}-{self.family}-{how}{budget}{half}-seed{self.seed}"

    @property
    def votes(self) -> Cell | None:
        """Return the cell whose teachers' votes it takes."""
        return replace(self, epsilon=None) if self.training == PATE and self.epsilon is not None else None

    def config(self, out: Path) -> Tree:
        """Return the config; folders of other runs are those within ``out``."""
        tree: Tree = {
            "name": self.name,
            "seed": self.seed,
            "init_from": str(out / start_name(self.data, self.family)),
            "data": {**deepcopy(PRIVATE[self.data]), "features": FEATURES[self.family]},
            "model": deepcopy(FAMILIES[self.family]),
            "runtime": {"executor": "serial"},
            "evaluate": {"held_out": 0.5, "every": 0, "transcripts": 0},
        }
        if self.data in CODED and not self.half:
            tree["audit"] = {"secrets": dict(CODES)}
        if self.half:
            speakers = tree["data"]["synthetic"]["speakers"]
            others = range(1 if self.half == "a" else 0, speakers, 2)
            tree["data"]["exclude"] = {"speaker": [f"s{number:05d}" for number in others]}
            tree["evaluate"]["held_out"] = 0.0
        return tree | self.trained(tree, out)

    def trained(self, tree: Tree, out: Path) -> Tree:
        """Return the sections that say how it is trained."""
        adam = {"optimizer": "adamw", "learning_rate": 0.006, "schedule": "cosine", "final_scale": 0.05}
        central = {"name": "central", "central_round": "all"}
        pooled = {"rounds": ROUNDS[self.family], "strategy": central, "client": {**adam, "batch_size": 32}}
        match self.training:
            case "pooled":
                return pooled
            case "initial model":
                return {**pooled, "rounds": 0}
            case "early stopping":
                return {**pooled, "rounds": ROUNDS[self.family] // 4}
            case "dropout":
                return {**pooled, "model": {**tree["model"], "dropout": 0.3}}
            case "clipping" | "DP-SGD":
                sgd = {"optimizer": "sgd", "learning_rate": RATES[self.epsilon], "clip_norm": None, "batch_size": 96}
                noise = {"noise_multiplier": NO_NOISE} if self.epsilon is None else {"epsilon": self.epsilon}
                return {
                    "rounds": 9,
                    "strategy": central,
                    "client": {**sgd, "schedule": "cosine"},
                    "privacy": {"unit": "example", "clip_norm": 0.5, **noise},
                }
            case "DP-SGD, many steps":
                noise = {"noise_multiplier": NO_NOISE} if self.epsilon is None else {"epsilon": self.epsilon}
                return {
                    "rounds": 30,
                    "strategy": central,
                    "client": {"optimizer": "sgd", "learning_rate": 2.0, "clip_norm": None, "batch_size": 32},
                    "privacy": {"unit": "example", "clip_norm": 0.5, "accountant": "rdp", **noise},
                }
            case "FedAvg" | "DP-FedAvg":
                federated: Tree = {
                    "rounds": 8,
                    "strategy": {
                        "name": "fedavgm",
                        "momentum": 0.8,
                        "learning_rate": SERVER_RATES[self.epsilon],
                        "schedule": "cosine",
                        "weighting": "uniform",
                    },
                    "selection": {"name": "poisson", "clients_per_round": COHORT[self.data]},
                    "client": {"optimizer": "adamw", "learning_rate": 0.006, "batch_size": 8},
                }
                if self.epsilon is not None:
                    users = {"unit": "user", "clip_norm": 0.2, "clipping": "per-layer", "epsilon": self.epsilon}
                    federated["privacy"] = users
                return federated
            case _:
                return self.voted(out)

    def voted(self, out: Path) -> Tree:
        """Return the sections of PATE: every user is a teacher."""
        public = {**PRIVATE[self.data].get("synthetic", PUBLIC[self.data]), **WORDLESS}
        public |= {"seed": 2, "speakers": 30, "utterances_per_speaker": 2, "test_speakers": 1}
        student = {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 8, "epochs": 3, "schedule": "cosine"}
        pate: Tree = {
            "mechanism": "gnmax",
            "scale": SCALES[self.epsilon],
            "unit": "utterance",
            "public": {"corpus": "synthetic", "synthetic": public},
            "student": student,
        }
        if self.family == "rnnt":
            pate["internal_lm"] = 0.4
        if self.votes is not None:
            pate["votes_from"] = str(out / self.votes.name)
        budget = {} if self.epsilon is None else {"epsilon": self.epsilon}
        return {
            "rounds": 5,
            "strategy": {"name": "pate"},
            "client": {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 8, "epochs": 6},
            "privacy": {"unit": "teacher", **budget},
            "pate": pate,
        }


def start_name(data: str, family: str) -> str:
    """Return the folder of the public initial model."""
    return f"start-{data}-{family}"


def start_config(data: str, family: str) -> Tree:
    """Return the config of the public initial model, on synthetic speech that is nobody's."""
    speech = {**PUBLIC[data], "seed": 1000}
    if family == "rnnt" and data == "digits":
        speech["utterances_per_speaker"] = MORE_FOR_TRANSDUCERS * speech["utterances_per_speaker"]
    return {
        "name": start_name(data, family),
        "rounds": PUBLIC_PASSES,
        "data": {
            "corpus": "synthetic",
            "synthetic": speech,
            "features": FEATURES[family],
            "augment": {"frequency_masks": 1, "frequency_mask_bins": 4, "time_masks": 1},
            "on_bad_audio": "skip",
        },
        "model": deepcopy(FAMILIES[family]),
        "client": {"optimizer": "adamw", "learning_rate": 0.006, "batch_size": 16, "schedule": "cosine"},
        "strategy": {"name": "central", "central_round": "all"},
        "runtime": {"executor": "serial"},
        "evaluate": {"every": 0, "transcripts": 0},
    }


def matrix(data: str, family: str, seed: int) -> Iterator[Cell]:
    """Yield the cells of one corpus, family and seed, the most informative first."""
    yield from curve(data, family, seed)
    yield Cell(data, family, PATE, seed=seed)
    yield from (Cell(data, family, PATE, epsilon, seed) for epsilon in (8.0, 1.0))
    yield from (Cell(data, family, DP_FEDAVG, epsilon, seed) for epsilon in (8.0, 1.0))
    yield from (Cell(data, family, training, seed=seed) for training in (EARLY, CLIPPED, FEDAVG))


def curve(data: str, family: str, seed: int) -> Iterator[Cell]:
    """Yield the initial model, and the least that shows leakage against ε."""
    yield Cell(data, family, START, seed=seed)
    yield from trade(data, family, seed)


def trade(data: str, family: str, seed: int) -> Iterator[Cell]:
    """Yield the least that shows leakage against ε."""
    yield Cell(data, family, PLAIN, seed=seed)
    yield from (Cell(data, family, DP_SGD, epsilon, seed) for epsilon in (8.0, 1.0))


def rest(data: str, family: str, seed: int) -> Iterator[Cell]:
    """Yield the other budgets, and what is left of the defences."""
    yield from (Cell(data, family, DP_SGD, epsilon, seed) for epsilon in (4.0, 10.0))
    yield from (
        Cell(data, family, training, epsilon, seed) for epsilon in (4.0, 10.0) for training in (PATE, DP_FEDAVG)
    )
    yield Cell(data, family, DROPOUT, seed=seed)
