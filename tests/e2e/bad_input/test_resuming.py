"""Runs that cannot be resumed."""

from __future__ import annotations

import json

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from .world import Place, Refuse


@pytest.fixture
def stopped(place: Place) -> Place:
    """The finished run as it was before its end, so that there is something to go on with."""
    summary = place.run / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "status": "interrupted"}))
    return place


def resume(place: Place, *changes: str) -> list[object]:
    return ["run", place.config, *changes, "--out", place.run, "--resume"]


@pytest.mark.slow
def test_resume_of_another_config_names_the_key(stopped: Place, refuse: Refuse) -> None:
    config = stopped.run / "config.yaml"
    for change, said in (
        ("client.epochs=2", "'client.epochs' was 1 and is now 2"),
        ("rounds=3", "'rounds' was 2 and is now 3"),
        ("seed=7", "'seed' was 0 and is now 7"),
        ("data.where.gender=f", "'data.where' was {} and is now {'gender': 'f'}"),
    ):
        refuse(resume(stopped, change), f"{config}: {said}", "resume with the same config, or start anew in another")


def test_resume_of_a_damaged_checkpoint(stopped: Place, refuse: Refuse) -> None:
    file = stopped.run / "checkpoint" / "state.safetensors"
    whole = file.read_bytes()
    for content in (whole[:200], whole[:-1], b"", b"x" * 5000):
        file.write_bytes(content)
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (", "start the run anew in another folder")


@pytest.mark.slow
def test_resume_of_a_checkpoint_that_lacks_something(stopped: Place, refuse: Refuse) -> None:
    file = stopped.run / "checkpoint" / "state.safetensors"
    with safe_open(file, framework="numpy") as opened:
        facts = json.loads(opened.metadata()["facts"])
    tensors = load_file(file)
    for name in facts:
        save_file(tensors, file, {"facts": json.dumps({key: value for key, value in facts.items() if key != name})})
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (", name)
    for metadata in (None, {}, {"facts": "{"}, {"facts": "[]"}):
        save_file(tensors, file, metadata)
        refuse(resume(stopped), f"{file}: is a damaged checkpoint (")
    save_file({}, file, {"facts": json.dumps(facts)})
    refuse(resume(stopped), f"{file}: is a damaged checkpoint (")
    save_file(tensors, file, {"facts": json.dumps({**facts, "format": 2, "order": 3})})
    refuse(resume(stopped), f"{file}: has format 2; this version of fedasr reads 1")
    save_file(tensors, file, {"facts": json.dumps({**facts, "round": 99})})
    refuse(resume(stopped), f"{file}: is of round 99; expected at most 2")
    smaller = {name: array for name, array in tensors.items() if name != "weights/head.bias"}
    order = [name for name in facts["order"] if name != "head.bias"]
    save_file(smaller, file, {"facts": json.dumps({**facts, "order": order})})
    refuse(resume(stopped), f"{file}: does not fit the model: ", "head.bias")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["rounds", "clients"])
def test_resume_of_a_damaged_journal(table: str, stopped: Place, refuse: Refuse) -> None:
    journal = stopped.run / "checkpoint" / f"{table}.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-1])
    refuse(resume(stopped), f"{journal}: is shorter ({len(whole) - 1} bytes) than the checkpoint says ({len(whole)})")
    journal.unlink()
    refuse(resume(stopped), f"{journal}: is shorter (0 bytes) than the checkpoint says")
    second = whole.index(b"\n") + 1
    for junk in (b"\xff", b"[", b"3"):
        journal.write_bytes(whole[:second] + junk + whole[second + 1 :])
        refuse(resume(stopped), f"{journal}:2: is damaged; restore the file, or start the run anew")


@pytest.mark.slow
def test_resume_of_other_damage(stopped: Place, refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    config, summary = stopped.run / "config.yaml", stopped.run / "summary.json"
    kept = config.read_text()
    config.write_text("rounds: [")
    refuse(resume(stopped), f"{config}:2: is not valid YAML")
    config.unlink()
    refuse(resume(stopped), f"{config}: is missing beside a checkpoint")
    config.write_text(kept)
    summary.write_text("{")
    refuse(resume(stopped), f"{summary}: is damaged (", "remove it to resume from the checkpoint")
    refuse(["run", stopped.config, "--resume"], "--resume: needs the run folder to go on with; add --out DIR")
    refuse(["run", stopped.config, "--resume", "--out", stopped.manifest], f"{stopped.manifest}: the run folder cannot")
