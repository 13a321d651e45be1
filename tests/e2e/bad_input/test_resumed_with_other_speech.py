"""A run goes on with the speech that it began with, or not at all: its devices are numbered by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fedasr
from fedasr.errors import InputError
from tests.e2e.small_speech import small, speech
from tests.fedasr.data.speech_files import write


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with speech, a seed model and a private run that could go on."""
    place = tmp_path_factory.mktemp("begun")
    manifest = speech(place)
    fedasr.run(small(manifest), out=place / "seed")
    fedasr.run(config(place), out=place / "run")
    summary = (place / "run" / "summary.json").read_text()
    (place / "run" / "summary.json").write_text(summary.replace('"done"', '"interrupted"'))
    return place


def config(place: Path) -> dict[str, object]:
    return small(
        place / "manifest.csv",
        init_from=str(place / "seed"),
        privacy={"unit": "example", "noise_multiplier": 2.0, "delta": 1e-5},
    )


@pytest.fixture
def place(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "place")
    # Paths are absolute in the config that is written down.
    for file in ("run/config.yaml", "seed/config.yaml"):
        text = (tmp_path / "place" / file).read_text().replace(str(begun), str(tmp_path / "place"))
        (tmp_path / "place" / file).write_text(text)
    return tmp_path / "place"


def edit(place: Path, old: str, new: str) -> None:
    manifest = place / "manifest.csv"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def a_speaker_more(place: Path) -> None:
    write(place / "a" / "0.wav", 0.5, seed=99)
    edit(place, "s0/0.wav", "a/0.wav,a,one,train,f\ns0/0.wav")


def a_speaker_less(place: Path) -> None:
    lines = (place / "manifest.csv").read_text().splitlines()
    (place / "manifest.csv").write_text("\n".join(line for line in lines if ",s2," not in line) + "\n")


def another_order(place: Path) -> None:
    header, *lines = (place / "manifest.csv").read_text().splitlines()
    (place / "manifest.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")


def another_model(place: Path) -> None:
    fedasr.run(small(place / "manifest.csv", seed=5), out=place / "seed-5")
    shutil.copy(place / "seed-5" / "model.safetensors", place / "seed" / "model.safetensors")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (a_speaker_more, r"1 of its utterances were added \(18 then, 19 now, the first is .*a/0\.wav"),
    "removed": (a_speaker_less, r"3 of its utterances were removed \(18 then, 15 now\)"),
    "transcript": (
        lambda place: edit(place, "s1/1.wav,s1,two", "s1/1.wav,s1,six"),
        r"1 of its utterances were changed .*s1/1\.wav",
    ),
    "recorded anew": (lambda place: write(place / "s3" / "2.wav", 0.5, seed=77), r"were changed .*s3/2\.wav"),
    "held out": (lambda place: edit(place, "s0,one,train", "s0,one,test"), r"were changed .*s0/0\.wav"),
    "order": (another_order, "18 utterances are in another order"),
    "seed model": (another_model, "another content of the seed model 'init_from'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_resumed_with_other_speech(place: Path, name: str) -> None:
    change, says = CHANGES[name]
    change(place)
    before = {path: path.read_bytes() for path in (place / "run").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=says):
        fedasr.run(config(place), out=place / "run", resume=True)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_resumed_with_the_same_speech(place: Path) -> None:
    assert fedasr.run(config(place), out=place / "run", resume=True).finished


@pytest.mark.slow
def test_resumed_without_the_fingerprint(place: Path) -> None:
    (place / "run" / "checkpoint" / "speech.safetensors").unlink()
    with pytest.raises(InputError, match=r"speech\.safetensors: is missing or damaged beside a checkpoint"):
        fedasr.run(config(place), out=place / "run", resume=True)
