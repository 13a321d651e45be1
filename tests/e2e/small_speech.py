"""Speech that costs nothing, a config on it, and the command line called in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fedasr.cli.main import status
from fedasr.config.schema import DataConfig
from fedasr.data.corpus import Waveform
from fedasr.data.manifest import ManifestCorpus
from tests.fedasr.data.speech_files import write

SPEAKERS = 6
WORDS = ("one", "two", "six")
HEADER = "path,speaker,text,split,gender"
BROKEN_SPEAKER = "s1"
MENDED = "mended"
"""A file of this name beside the manifest: the device is mended."""


def speech(folder: Path) -> Path:
    """Write half a second of noise for each of six speakers and three words; the last speaker is the test split."""
    rows = [HEADER]
    for speaker in range(SPEAKERS):
        split = "test" if speaker == SPEAKERS - 1 else "train"
        for number, word in enumerate(WORDS):
            write(folder / f"s{speaker}" / f"{number}.wav", 0.5, seed=10 * speaker + number)
            rows.append(f"s{speaker}/{number}.wav,s{speaker},{word},{split},{'fm'[speaker % 2]}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return manifest


def small(manifest: Path, **changes: Any) -> dict[str, Any]:
    """Return a config of one round of all five clients; keyword arguments are dotted keys with ``__`` for the dot."""
    config: dict[str, Any] = {
        "name": "small",
        "rounds": 1,
        "data": {"corpus": "manifest", "manifest": str(manifest), "cache": {"directory": "off"}},
        "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
        "client": {"batch_size": 2, "learning_rate": 0.01},
        "selection": {"clients_per_round": 5},
        "runtime": {"executor": "serial", "workers": 2},
    }
    for name, value in changes.items():
        node = config
        *path, last = name.split("__")
        for step in path:
            node = node.setdefault(step, {})
        node[last] = value
    return config


def save(config: Mapping[str, Any], path: Path) -> Path:
    """Write a config as YAML."""
    OmegaConf.save(OmegaConf.create(dict(config)), path)
    return path


def snapshot(folder: Path) -> dict[str, str]:
    """Return every file and folder below ``folder`` with the SHA-256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def refused(
    capsys: pytest.CaptureFixture[str], kept: Path, arguments: Sequence[object], *says: str, code: int = 2
) -> str:
    """Assert that a command ends with ``code`` and one line that holds ``says``, and leaves ``kept`` as it is."""
    before = snapshot(kept)
    capsys.readouterr()
    result = status([str(argument) for argument in arguments])
    line = only_line(capsys)
    assert result == code, line
    for said in says:
        assert said in line
    assert snapshot(kept) == before
    return line


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line of standard error; nothing is on standard output."""
    out, error = capsys.readouterr()
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.strip()]
    assert len(lines) == 1, error
    assert out == ""
    return lines[0]


class BrokenMicrophone(ManifestCorpus):
    """One speaker's device fails in a way that nobody foresaw, until somebody has mended it."""

    def waveform(self, index: int) -> Waveform:
        if self.columns["speaker"][index] == BROKEN_SPEAKER and not (self.base / MENDED).exists():
            raise RuntimeError("the microphone is broken\nand the driver says more")
        return super().waveform(index)


def broken_microphone(config: DataConfig, seed: int) -> BrokenMicrophone:
    """Return the manifest's corpus with the broken device: a corpus by reference."""
    assert config.manifest is not None
    return BrokenMicrophone(config.manifest, seed=seed)
