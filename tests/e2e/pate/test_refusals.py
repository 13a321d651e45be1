"""What PATE cannot do is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fedasr
from fedasr.errors import InputError

from .world import PUBLIC, pate

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another-strategy": ({"strategy__name": "fedavg"}, "'pate.scale' is set but 'strategy.name' is 'fedavg'"),
    "threshold-missing": ({"pate__mechanism": "confident-gnmax"}, "'pate.threshold' is not set"),
    "threshold-unread": ({"pate__threshold": 3.0}, "'pate.threshold' is set but 'pate.mechanism' is 'gnmax'"),
    "unit-of-privacy": ({"privacy__unit": "user"}, "set privacy.unit=teacher"),
    "noise-key": ({"privacy__noise_multiplier": 1.0}, "'privacy.noise_multiplier' is set but 'privacy.unit' is 'teach"),
    "no-budget": ({"pate__budget": "data-dependent"}, "'privacy.epsilon' is not set; give a budget"),
    "one-candidate": ({"pate__candidates": ["yes"]}, "a vote needs at least two"),
    "unknown-candidate": ({"pate__candidates": ["yes", "42"]}, "'pate.candidates' has '42'"),
    "steps": ({"client__steps": 3}, "'client.steps' is set"),
    "a-speaker-of-several-teachers": (
        {"data__partition": {"name": "iid"}, "data__clients": 4},
        "'data.partition' splits the speech of speaker 's00001' over 3 teachers",
    ),
    "weight-of-nobody": (
        {"pate": {"mechanism": "soft-gaussian", "scale": 2.0, "public": PUBLIC, "weights": {"00001": 0.5}}},
        "'pate.weights.00001' names no teacher (did you mean 's00001'?)",
    ),
    "private-transcripts-as-phrases": (
        {"evaluate": {"decoder": "vocabulary"}},
        "'evaluate.vocabulary' is empty, and the phrases of decoder 'vocabulary' would be the training transcripts",
    ),
    "clock": ({"devices": {"clock": True}}, "'devices.clock' is true"),
    "manifest": ({"pate__public": {"corpus": "manifest"}}, "'pate.public.manifest' is not set"),
    "split": ({"pate__public": {**PUBLIC, "split": "dev"}}, "'pate.public.split' is 'dev'"),
    "a-table-that-nothing-reads": (
        {"pate__public": {**PUBLIC, "manifest": "public.csv"}},
        "'pate.public.manifest' is set but 'pate.public.corpus' is 'synthetic', which does not read it",
    ),
    "store": ({"pate__store": __file__}, "is not a folder; 'pate.store' names the folder"),
    "the-same-synthetic-speakers": (
        {"pate__public": {"synthetic": {**PUBLIC["synthetic"], "seed": 0}}},
        "of the speakers that the teachers were trained on",
    ),
    "scale": ({"pate__scale": 1e160}, "'pate.scale' is 1e+160; expected"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(case: str, tmp_path: Path) -> None:
    changes, words = REFUSED[case]
    tree = json.loads(json.dumps(pate()))
    for name, value in changes.items():
        *path, last = name.split("__")
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[last] = value
    with pytest.raises(InputError) as caught:
        fedasr.run(tree, out=tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_public_speech_of_a_private_speaker_is_refused(tmp_path: Path) -> None:
    """The same people in another table: the file names differ, the speakers do not."""
    from fedasr.data.synthetic import synthesize

    synthesize(tmp_path / "speech", 3, 2, 0, "digits")
    table = pd.read_csv(tmp_path / "speech" / "manifest.csv")
    table.to_csv(tmp_path / "speech" / "other.csv", index=False)
    data = {"corpus": "manifest", "manifest": str(tmp_path / "speech" / "manifest.csv")}
    tree = {**pate(), "data": data}
    same_table = {"corpus": "manifest", "manifest": data["manifest"]}
    other_table = {**same_table, "manifest": str(tmp_path / "speech" / "other.csv")}
    for public, words in (
        (same_table, "'pate.public.split' is 'train' of the corpus that 'data' reads too"),
        (other_table, "of the speakers that the teachers were trained on"),
    ):
        tree["pate"] = {"scale": 2.0, "public": public}
        with pytest.raises(InputError, match=words):
            fedasr.run(tree, out=tmp_path / "run")
