"""Wrong input gives one line that names the place and the way out, exit status 2, and changes nothing on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fedasr

from ..small_speech import refused, save, small, speech
from .world import Place


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("sound")
    manifest = speech(root / "speech")
    config = small(manifest, rounds=2)
    fedasr.run(config, out=root / "run")
    return Place(root, manifest, save(config, root / "small.yaml"), root / "run")


@pytest.fixture
def place(sound: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy that the test may break; also the working folder, where the default run folder would be made."""
    root = tmp_path / "place"
    shutil.copytree(sound.root, root)
    monkeypatch.chdir(root)
    manifest = root / "speech" / "manifest.csv"
    # The same config as the finished run's, which names the speech where it was first.
    return Place(root, manifest, root / "small.yaml", root / "run")


@pytest.fixture
def refuse(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return ``refused`` for the place: the command's arguments as a list, then what the line must say."""

    def check(arguments: list[object], *says: str) -> str:
        line = refused(capsys, place.root, arguments, *says)
        assert line.startswith("error: ")
        return line

    return check
