"""The tiny config that the tests of PATE share: 12 teachers, 20 public utterances of three words."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pandas as pd

import fedasr
from fedasr.runtime.session import Silent, current

from ..tiny import tiny

WORDS = ["yes", "no", "stop"]


PUBLIC = {
    "synthetic": {
        "grammar": "words",
        "words": WORDS,
        "speakers": 5,
        "utterances_per_speaker": 4,
        "activity": "constant",
        "test_speakers": 1,
    }
}


CHANGES: dict[str, Any] = {
    "data__synthetic__grammar": "words",
    "data__synthetic__words": WORDS,
    "model": {"encoder": "blstm", "channels": [8, 8], "hidden": 8, "dropout": 0.1},
    "client__epochs": 6,
    "client__learning_rate": 0.01,
    "strategy": {"name": "pate"},
    "privacy": {"unit": "teacher", "delta": 1e-4},
    "pate": {"scale": 2.0, "public": PUBLIC, "student": {"batch_size": 4}},
}


RESULTS = ["round", "loss", "wer", "cer", "train_loss", "clients_replied", "examples", "bytes_up"]


def pate(**changes: Any) -> dict[str, Any]:
    """Return the tiny PATE config: 12 teachers, 20 public utterances of three words."""
    return tiny(**deepcopy({**CHANGES, **changes}))


def queries(run: fedasr.Run) -> pd.DataFrame:
    return pd.read_parquet(run.path / "queries.parquet")


def same(run: fedasr.Run, reference: fedasr.Run) -> None:
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    assert run.privacy == reference.privacy
    assert run.summary["epsilon"] == reference.summary["epsilon"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], reference.rounds[RESULTS])
    pd.testing.assert_frame_equal(queries(run), queries(reference))
    columns = ["round", "client", "examples", "status"]
    pd.testing.assert_frame_equal(run.clients[columns], reference.clients[columns])


class StopAt(Silent):
    """Asks the run to stop when it says something, or after a round."""

    def __init__(self, sign: str) -> None:
        self.sign = sign

    def note(self, text: str) -> None:
        """Ask to stop at a note."""
        if text.startswith(self.sign):
            current().stop.set()

    def round(self, row: Any) -> None:
        """Ask to stop after a round."""
        self.note(f"round {row['round']}")
