"""What a store of posteriors is of: the teacher and how it was asked. Another teacher's is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedasr.data.posteriors.layout import Layout, layout_of
from fedasr.errors import InputError
from fedasr.files import READABLE, as_text, create
from fedasr.paths import exists, is_file

NAME = "header.json"
FORMAT, VERSION = "fedasr-posteriors", 1
TARGETS = ("frames", "lattice", "sequence", "labels")

WHAT = {
    "targets": "other targets",
    "teacher": "another teacher's weights or model",
    "tokenizer": "another tokenizer",
    "features": "other features",
    "stride": "another frame rate",
    "classes": "another number of tokens",
    "asked": "other settings",
    "counterfactual": "another counterfactual",
}


@dataclass(frozen=True)
class Header:
    """What the targets are of.

    Attributes:
        targets: ``frames``, ``lattice``, ``sequence`` or ``labels``.
        classes: tokens of the teacher, the blank included.
        teacher: SHA-256 of its weights and section ``model``.
        tokenizer: SHA-256 of its tokenizer.
        features: SHA-256 of its feature settings.
        stride: feature frames → output frames, for some lengths.
        asked: what else decides the targets: ``top_k`` of frames, ``beam`` and ``n_best`` of sequences.
        counterfactual: in which other voice the teacher has heard each utterance too, as in section ``distillation``;
            ``none``: in its own alone.
    """

    targets: str
    classes: int
    teacher: str
    tokenizer: str
    features: str
    stride: Mapping[str, int]
    asked: Mapping[str, int] = field(default_factory=dict)
    counterfactual: str = "none"

    @property
    def layout(self) -> Layout:
        """The tables of the store."""
        return layout_of(self.targets, self.classes, self.asked.get("top_k", 0))

    def create(self, folder: Path) -> None:
        """Write the header of a new store, or find that the store there is of the same.

        Several processes may do so at once.

        Raises:
            InputError: the folder holds something else, or a store of something else.
        """
        if is_file(folder):
            raise InputError("is a file; expected a folder for the posteriors", where=str(folder))
        # Another process may be writing the header at this moment, under a hidden name.
        strange = exists(folder) and any(not item.name.startswith(".") for item in folder.iterdir())
        if strange and not is_file(folder / NAME):
            raise InputError("holds something else; give a new folder for the posteriors", where=str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        create(folder / NAME, as_text({"format": FORMAT, "version": VERSION, **asdict(self)}).encode(), READABLE)
        self.check(folder)

    def check(self, folder: Path) -> None:
        """Raise where the store in a folder is of something else.

        Raises:
            InputError: naming the first thing that differs.
        """
        there, here = asdict(read_header(folder)), asdict(self)
        for name, words in WHAT.items():
            if there[name] != here[name]:
                raise InputError(
                    f"holds the posteriors of {words} ('{name}' is {short(there[name])}, not {short(here[name])}); give"
                    " another folder, or write them anew with 'fedasr posteriors write'",
                    where=str(folder),
                )


def short(value: Any) -> str:
    """Return a value of a header for a line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:13]}…{text[-1]}"


def read_header(folder: Path) -> Header:
    """Return the header of a store.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = folder / NAME
    if not is_file(file):
        raise InputError(
            f"holds no posteriors: it has no {NAME}; write them with 'fedasr posteriors write'", where=str(folder)
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ValueError(f'expected "format": "{FORMAT}", "version": {VERSION}')
        header = Header(**content)
        if header.targets not in TARGETS or not isinstance(header.classes, int):
            raise ValueError(f"'targets' is {header.targets!r} and 'classes' {header.classes!r}")
        index = header.layout  # what cannot be laid out is no header
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"is damaged: {error}; write the posteriors anew", where=str(file)) from None
    assert index
    return header
