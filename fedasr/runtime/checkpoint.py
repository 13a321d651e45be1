"""The checkpoint: one file that holds all that the next round needs, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.files import PRIVATE, write_arrays

FORMAT = 1
NAME = "state.safetensors"


@dataclass
class Checkpoint:
    """What a run needs to go on after ``round``."""

    round: int
    weights: Mapping[str, npt.NDArray[Any]]
    optimizer: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    states: Mapping[int, bytes] = field(default_factory=dict)
    """serialised state of each client that keeps one"""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON: totals, selector, roster, journal positions"""
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """the roster's columns that change"""


def save(folder: Path, checkpoint: Checkpoint, durable: bool = False) -> None:
    """Write the checkpoint into ``folder``, replacing the last one, which stays where this one cannot be written.

    Args:
        folder: of the run's checkpoint.
        checkpoint: to write.
        durable: it survives a power cut from the moment this returns.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    for kind, arrays in (
        ("weights", checkpoint.weights),
        ("optimizer", checkpoint.optimizer),
        ("columns", checkpoint.columns),
    ):
        tensors.update({f"{kind}/{name}": array for name, array in arrays.items()})
    for node, state in checkpoint.states.items():
        tensors[f"states/{node}"] = np.frombuffer(state, np.uint8)
    facts = {"format": FORMAT, "round": checkpoint.round, "order": list(checkpoint.weights), **checkpoint.facts}
    # It may hold what an ε counts on nobody knowing: the source of the cohorts, and noise that is to be taken back.
    write_arrays(folder / NAME, tensors, {"facts": json.dumps(facts)}, mode=PRIVATE, durable=durable)


def load(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of ``folder``, or None where there is none yet.

    Raises:
        InputError: the file is damaged or of another version.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.is_file():
        return None
    parts: dict[str, dict[str, npt.NDArray[Any]]] = {"weights": {}, "optimizer": {}, "columns": {}, "states": {}}
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            if facts["format"] != FORMAT:
                version = facts["format"]
                raise InputError(f"has format {version}; this version of fedasr reads {FORMAT}", where=str(path))
            for name in file.keys():  # noqa: SIM118 - the file is no mapping
                kind, _, rest = name.partition("/")
                parts[kind][rest] = file.get_tensor(name)
        return Checkpoint(
            int(facts["round"]),
            {name: parts["weights"][name] for name in facts["order"]},
            parts["optimizer"],
            {int(node): state.tobytes() for node, state in parts["states"].items()},
            facts,
            parts["columns"],
        )
    except InputError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"is a damaged checkpoint ({error}); start the run anew in another folder", where=str(path)
        ) from None
