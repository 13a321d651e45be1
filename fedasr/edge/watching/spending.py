"""What a run that is still going has spent of its privacy, with all that the number depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedasr.edge.server_folder import read_json
from fedasr.errors import InputError
from fedasr.privacy.document import PRIVACY_JSON, privacy_document
from fedasr.privacy.ledger import Ledger
from fedasr.runtime.checkpoint import NAME

LEDGERS = ("ledger", "largest")
"""Where a mechanism's state has its ledger: that of the run, or of the device that has spent most."""
SENTENCE = "guarantee"
"""How the keys of ``privacy.json`` begin whose values say all in words."""


def spent(folder: Path, config: Mapping[str, Any], rows_epsilon: tuple[int, float] | None) -> dict[str, Any] | None:
    """Return what was spent so far; None where nothing is private.

    Args:
        folder: of the run.
        config: of the run, as ``config.yaml`` has it.
        rows_epsilon: the last round whose row tells ε, and that ε: all there is of a run that keeps no ledger in its
            checkpoint.

    Returns:
        ``epsilon`` (None: several units, or not told yet), ``delta``, ``unit``, ``round`` (the last counted) and
        ``guarantee`` (sentences, maybe none).

    Raises:
        InputError: a file is damaged.
    """
    settings = config.get("privacy") or {}
    if settings.get("unit", "none") == "none":
        return None
    summary: dict[str, Any] = {
        "epsilon": None,
        "delta": settings.get("delta"),
        "unit": settings.get("unit"),
        "round": None,
        SENTENCE: [],
    }
    document, round = written(folder), None
    if document is None:
        document, round = counted(folder, float(settings["delta"]))
    if document is not None:
        summary["epsilon"] = document.get("epsilon")
        summary[SENTENCE] = [str(text) for key, text in document.items() if key.startswith(SENTENCE)]
        summary["round"] = round
    elif rows_epsilon is not None:
        summary["round"], summary["epsilon"] = rows_epsilon
    return summary


def written(folder: Path) -> dict[str, Any] | None:
    """Return ``privacy.json``, which a run writes when it ends; None before."""
    path = folder / PRIVACY_JSON
    return dict(read_json(path)) if path.is_file() else None


def counted(folder: Path, delta: float) -> tuple[dict[str, Any] | None, int | None]:
    """Return what the ledger in the checkpoint comes to, and the last round in it; None where there is none yet."""
    facts = checkpoint_facts(folder / "checkpoint" / NAME)
    state = facts.get("privacy") or {}
    ledger = next((state[name] for name in LEDGERS if state.get(name)), None)
    if ledger is None:
        return None, None
    return document_of(json.dumps(ledger), delta), int(facts["round"])


@lru_cache(maxsize=1)
def document_of(ledger: str, delta: float) -> dict[str, Any]:
    """Return a ledger as ``privacy.json`` has it; the last is kept, for composing may take a second."""
    restored = Ledger("rdp")  # its state says which accountant it really is
    restored.load_state_dict(json.loads(ledger))
    return privacy_document(restored, delta)


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """Return the facts in a checkpoint without its weights; empty where there is none.

    Raises:
        InputError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(json.loads(file.metadata()["facts"]))
    except FileNotFoundError:
        return {}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"is a damaged checkpoint ({error})", where=str(path)) from None
