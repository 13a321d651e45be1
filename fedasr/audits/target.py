"""What is attacked: a config before its run, or a run folder with its final model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedasr.config import Config, load
from fedasr.models.weights import Arrays, read_weights
from fedasr.paths import is_folder
from fedasr.references import look_beside
from fedasr.results.load import load_run


@dataclass(frozen=True)
class Target:
    """A config and the weights that it is attacked at."""

    config: Config
    weights: Arrays | None
    """None: those that the run starts from"""
    folder: Path | None
    """None where there is no run"""

    @classmethod
    def of(cls, named: str, overrides: Sequence[str] = ()) -> Target:
        """Return what a command line names: a config, or a run folder.

        Raises:
            InputError: it is neither, or the changes do not fit.
        """
        if not is_folder(Path(named)):
            look_beside(named)
            return cls(load(named, overrides), None, None)
        run = load_run(named)
        weights, _ = read_weights(run.path)
        return cls(load(run.path / "config.yaml", overrides), weights, run.path)

    @property
    def model(self) -> str:
        """Which weights they are, in words."""
        return "the initial model" if self.weights is None else "the final model"

    def rounds(self, count: int) -> list[int]:
        """Return the rounds that are played, ``count`` of them: the first ones, or of a run the last ones, repeated."""
        last = max(1, self.config.rounds)
        numbers = [1 + index % last for index in range(count)]
        return numbers if self.weights is None else [last + 1 - number for number in numbers]
