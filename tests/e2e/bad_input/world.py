"""A folder of sound inputs, which the tests break one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOO_LONG = "a" * 300


@dataclass(frozen=True)
class Place:
    """A folder of sound inputs: ``root`` is watched for changes, and broken inputs go into it first."""

    root: Path
    manifest: Path
    config: Path
    run: Path

    @property
    def out(self) -> Path:
        """A run folder that must not come into being."""
        return self.root / "out"


Refuse = Callable[..., str]


def commands(place: Place, folder: Path) -> list[list[object]]:
    audio = place.manifest.parent / "s0" / "0.wav"
    return [["evaluate", folder, "--manifest", place.manifest], ["transcribe", folder, audio]]
