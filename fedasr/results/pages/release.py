"""A release: of a finished private run exactly what its ε covers, in a folder of its own, with its card.

What is not named here stays in the run folder. Whatever could follow from private data without being paid for is left
out: seeds, paths, names, votes, tables, measurements, and of PATE the ε that was computed from the votes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from safetensors import SafetensorError

from fedasr.config import to_dict
from fedasr.config.loading import load
from fedasr.errors import InputError
from fedasr.files import replacing_folder, write_json, write_text
from fedasr.models.own_tokenizer import load_tokenizer
from fedasr.models.weights import read_weights, save_weights, sha256
from fedasr.paths import exists
from fedasr.privacy.document import PRIVACY_JSON, privacy_document
from fedasr.privacy.events import PateVotes
from fedasr.privacy.ledger import SECRET, Budget, Ledger
from fedasr.results.load import Run, as_run
from fedasr.results.pages.privacy_card import as_text, card_of

CONFIG_YAML, CARD_JSON, README, LABELS = "config.yaml", "card.json", "README.md", "labels.csv"
OPTIONS = "options"
FILES = {
    "model.safetensors": "the weights",
    "tokenizer.json": "characters and their tokens, which were settled before training",
    CONFIG_YAML: "how it was trained, without seeds, paths and names",
    PRIVACY_JSON: "the ledger and what it comes to",
    CARD_JSON: "this card for programs",
}
TOLD = {
    "model": (),
    "client": (),
    "strategy": (),
    "selection": (),
    "privacy": (),
    "data": ("features", "augment", "min_seconds", "max_seconds"),
    "pate": ("mechanism", "scale", "threshold", "threshold_scale", "unit", "internal_lm", "noise_at", "student"),
}
"""What of a config is told, by section; nothing named: all of it. None of it was computed from private data."""


def release(run: Run | str | Path, out: str | Path, simulation: bool = False) -> dict[str, Any]:
    """Write the release of a run and return its card.

    Args:
        run: finished and private.
        out: the folder, which must not exist or be empty.
        simulation: also of a run that protects nobody, since its randomness follows from a public seed; the card says
            so in its first line.

    Raises:
        InputError: the run has nothing that may be released, or the folder is in use; nothing was written.
    """
    run, folder = as_run(run), Path(out)
    refuse_used(folder)
    document, ledger = covered(run)
    delta = float(run.config.privacy.delta)
    check_claims(run, document, ledger, delta, simulation)
    try:
        with replacing_folder(folder) as temporary:
            card = write_all(run, temporary, ledger, delta)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot be written: {why}", where=str(folder)) from None
    return card


def refuse_used(folder: Path) -> None:
    """Raise where something is in the folder already.

    Raises:
        InputError: there is.
    """
    if exists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is not empty; expected a new folder for the release", where=str(folder))


def covered(run: Run) -> tuple[dict[str, Any], Ledger]:
    """Return the privacy document of a run and the ledger of what may be told: without what follows from votes.

    Raises:
        InputError: the run is not finished, nothing private ran, or nothing was released.
    """
    place = str(run.path)
    if run.status != "done":
        raise InputError(f"is {run.status}; expected a finished run", where=place)
    config = run.config
    private = config.privacy.unit != "none" or config.strategy.name == "pate"
    if not private:
        raise InputError(
            "nothing private ran ('privacy.unit' is none), so no ε covers its model and nothing may be released",
            where=place,
        )
    document = run.privacy
    state = (document or {}).get("ledger")
    if document is None or not isinstance(state, Mapping) or not state.get("entries"):
        raise InputError(f"holds no ledger of what was released ({PRIVACY_JSON}); no ε covers its model", where=place)
    ledger = Ledger()
    ledger.load_state_dict(state)
    ledger.entries = [
        replace(entry, event=entry.event.data_independent()) if isinstance(entry.event, PateVotes) else entry
        for entry in ledger.entries
    ]
    return document, ledger


def check_claims(run: Run, document: Mapping[str, Any], ledger: Ledger, delta: float, simulation: bool) -> None:
    """Raise where the ledger's ε does not cover what would be released, or holds for nobody.

    Raises:
        InputError: it does not.
    """
    place = str(run.path)
    spent = ledger.spent(delta)
    if not all(math.isfinite(spending.epsilon) for spending in spent):
        raise InputError("its noise gives no finite ε, so nothing is protected", where=place)
    for reason in document.get("caveats", ()):
        if not simulation:
            raise InputError(
                f"its ε does not cover all that would be released: {reason}; with --simulation the card says so",
                where=place,
            )
    if not simulation and any(spending.randomness != SECRET for spending in spent):
        raise InputError(
            "its noise follows from a public seed, so its ε holds for nobody; run it with privacy.secret_noise=true, or"
            " give --simulation for a release whose card says so",
            where=place,
        )
    if run.config.model.alphabet == "auto":
        raise InputError("its alphabet was read off the transcripts, which no ε covers", where=place)


def write_all(run: Run, folder: Path, ledger: Ledger, delta: float) -> dict[str, Any]:
    """Write the files of a release and return its card."""
    arrays, _ = read_weights(run.path)
    save_weights(folder / "model.safetensors", arrays)
    load_tokenizer(run.path / "tokenizer.json", run.config.model).save(folder / "tokenizer.json")
    settings = told(run)
    load(settings)  # whoever gets it can read it
    write_text(folder / CONFIG_YAML, OmegaConf.to_yaml(OmegaConf.create(settings)))
    limit = run.config.privacy.epsilon
    unit = ledger.entries[0].event.unit
    budget = None if limit is None else Budget(float(limit), delta, unit)
    caveats = list((run.privacy or {}).get("caveats", ()))
    write_json(folder / PRIVACY_JSON, {**privacy_document(ledger, delta, budget=budget), "caveats": caveats})
    files = dict(FILES)
    if run.config.strategy.name == "pate" and len(labels := labels_of(run)):
        labels.to_csv(folder / LABELS, index=False)
        files[LABELS] = (
            "the released labels: the query, the number of the public utterance, its label; empty: no consensus"
        )
    facts = {
        "caveats": caveats,
        "files": files,
        "model_sha256": sha256(arrays),
        "parameters": sum(int(array.size) for array in arrays.values()),
        "fedasr": version("fedasr"),
    }
    card = card_of(ledger, delta, facts)
    card["not_covered"] = [*caveats, *card["not_covered"]]
    if caveats and card["first"] is None:
        card |= {"guarantee_holds": False, "first": f"The ε below does not cover all of this: {'; '.join(caveats)}."}
    write_json(folder / CARD_JSON, card)
    write_text(folder / README, as_text(card))
    return card


def told(run: Run) -> dict[str, Any]:
    """Return what of a run's config is told: how it was trained, and nothing of whose speech or with which draws."""
    tree = to_dict(load(run.path / CONFIG_YAML))
    facts: dict[str, Any] = {"rounds": tree["rounds"]}
    for section, names in TOLD.items():
        facts[section] = {
            name: sizes(value) if name.endswith(OPTIONS) else value
            for name, value in tree[section].items()
            if not names or name in names
        }
    if tree["strategy"]["name"] != "pate":
        del facts["pate"]
    return facts


def sizes(options: Any) -> dict[str, Any]:
    """Return of the options of somebody's own part the numbers; words may be paths or names."""
    given = options if isinstance(options, Mapping) else {}
    return {str(name): value for name, value in given.items() if isinstance(value, (bool, int, float))}


def labels_of(run: Run) -> pd.DataFrame:
    """Return the released labels of a PATE run, without what else its table says of the votes."""
    return run.queries[["query", "utterance", "label"]]
