"""What is said of a start that is not public."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedasr.config import load
from fedasr.privacy.initial_model import caveat

SYNTHETIC = {"data": {"corpus": "synthetic"}}
RECORDED = {"data": {"corpus": "manifest", "manifest": "/speech/manifest.csv"}}


def folder(path: Path, account: bool = False, **config: Any) -> Path:
    """Return a run folder, as far as it is read here."""
    path.mkdir()
    tree = {"seed": 0, "data": {"train_split": "train", "where": {}, "root": None, "subset": None, "public_share": 0.0}}
    for name, value in config.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    (path / "config.yaml").write_text(yaml.safe_dump(tree))
    (path / "model.safetensors").touch()
    if account:
        (path / "privacy.json").write_text("{}")
    return path


def said(start: Path | None, **config: Any) -> str | None:
    private = {"strategy": {"weighting": "uniform"}, "privacy": {"unit": "user", "epsilon": 1.0, "clip_norm": 0.1}}
    tree = {"model": {"alphabet": "latin"}, "init_from": None if start is None else str(start), **private, **config}
    return caveat(load(tree))


OTHER_ROWS = "speech of the same corpus, which may be of people of this run"
THEIRS = "people of this run"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("start", "run", "shared"),
    [
        (SYNTHETIC, SYNTHETIC, THEIRS),
        (SYNTHETIC, {**SYNTHETIC, "seed": 1}, None),
        (SYNTHETIC, {"data": {"corpus": "synthetic", "synthetic": {"seed": 0}}, "seed": 1}, THEIRS),
        ({"data": {"corpus": "synthetic", "synthetic": {"seed": 1}}}, SYNTHETIC, None),
        (SYNTHETIC, RECORDED, None),
        (RECORDED, {**RECORDED, "seed": 1}, THEIRS),
        (RECORDED, {"data": {**RECORDED["data"], "manifest": "/other.csv"}}, None),
        (RECORDED, {"data": {**RECORDED["data"], "public_share": 0.25}}, THEIRS),
        ({"data": {**RECORDED["data"], "public_share": 0.25}}, RECORDED, THEIRS),
        ({"data": {**RECORDED["data"], "where": {"split": ["train", "test"]}}}, RECORDED, OTHER_ROWS),
        ({"data": {**RECORDED["data"], "train_split": "public"}}, RECORDED, OTHER_ROWS),
        (RECORDED, {"data": {**RECORDED["data"], "manifest": "/speech/../speech/manifest.csv"}}, THEIRS),
    ],
)
def test_a_start_of_the_same_people_is_not_public(
    start: dict[str, Any], run: dict[str, Any], shared: str | None, tmp_path: Path
) -> None:
    path = folder(tmp_path / "start", **start)
    words = f"the initial model, {path}, was trained without privacy on {shared}, which no ε covers"
    assert said(path, **run) == (words if shared else None)
    assert said(path / "model.safetensors", **run) == (words if shared else None)


def test_a_corpus_behind_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").touch()
    (tmp_path / "link.csv").symlink_to("manifest.csv")
    path = folder(tmp_path / "start", data={"corpus": "manifest", "manifest": str(tmp_path / "manifest.csv")})
    result = said(path, data={"corpus": "manifest", "manifest": str(tmp_path / "link.csv")})
    assert f"was trained without privacy on {THEIRS}" in str(result)


def test_a_start_that_is_private_itself_has_spent_some_of_their_epsilon(tmp_path: Path) -> None:
    path = folder(tmp_path / "start", account=True, privacy={"unit": "user"}, **SYNTHETIC)
    assert (
        said(path, **SYNTHETIC)
        == f"the initial model, {path}, has an ε of its own for people of this run, to be added to this one"
    )
    assert said(path, **SYNTHETIC, seed=1) is None


def test_a_student_is_as_public_as_what_it_started_from(tmp_path: Path) -> None:
    """Its own teachers told it nothing: not a label could be paid for, and there is no account."""
    first = folder(tmp_path / "first", **SYNTHETIC)
    student = folder(tmp_path / "student", privacy={"unit": "teacher"}, init_from=str(first), **SYNTHETIC)
    assert f"the initial model, {first}, was trained without privacy" in str(said(student, **SYNTHETIC))
    public = folder(tmp_path / "public", **{**SYNTHETIC, "seed": 5})
    student = folder(tmp_path / "other", privacy={"unit": "teacher"}, init_from=str(public), **SYNTHETIC)
    assert said(student, **SYNTHETIC) is None


def test_of_what_has_no_run_folder_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert said(tmp_path / "model.safetensors", **SYNTHETIC) is None
    assert said(None, **SYNTHETIC) is None
    # The manifest of a deployed run is the server's own speech, on which it evaluates.
    path = folder(tmp_path / "start", **RECORDED)
    privacy = {"unit": "user", "epsilon": 1.0, "clip_norm": 0.1, "secret_noise": True}
    assert said(path, **RECORDED, runtime={"name": "deployment"}, privacy=privacy) is None


def test_starts_that_name_each_other_end(tmp_path: Path) -> None:
    first = folder(tmp_path / "first", init_from=str(tmp_path / "second"), **{**SYNTHETIC, "seed": 3})
    folder(tmp_path / "second", init_from=str(first), **{**SYNTHETIC, "seed": 4})
    assert said(first, **SYNTHETIC) is None


def test_a_distilled_start_is_as_public_as_its_teacher(tmp_path: Path) -> None:
    folder(tmp_path / "teacher-0", **SYNTHETIC)
    about = {"data": {"corpus": "manifest"}, "distillation": {"teacher": str(tmp_path / "teacher-{seed}")}}
    student = folder(tmp_path / "student", **about)
    result = said(student, **SYNTHETIC)
    assert result is not None
    assert "teacher-0" in result
    assert THEIRS in result
