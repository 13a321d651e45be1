"""What Flower sends to the nodes of a run is the app's code, and nothing else that lies in the checkout."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
from flwr.cli.build import build_fab_from_disk

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("fedasr", "strategies", "clients", "simulations")


@pytest.mark.thorough
def test_a_server_in_the_checkout_is_not_packed_again_and_again(tmp_path: Path) -> None:
    """What the server unpacks of a run lies below it; the third run was too deep for Flower, and each was larger."""
    checkout = tmp_path / "checkout"
    for room in ROOMS:
        shutil.copytree(ROOT / room, checkout / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".gitignore", "LICENSE", "README.md"):
        shutil.copyfile(ROOT / name, checkout / name)
    sizes = []
    for number in range(3):
        private = checkout / "of the server" / "boxes" / "anna"
        private.mkdir(parents=True, exist_ok=True)
        (private / "account.json").write_text("{}")
        packed = build_fab_from_disk(checkout)
        sizes.append(len(packed))
        with zipfile.ZipFile(io.BytesIO(packed)) as bundle:
            assert {name.split("/")[0] for name in bundle.namelist()} == {*ROOMS, "pyproject.toml", ".info"}
            bundle.extractall(checkout / "of the server" / "flower" / "apps" / f"run.{number}")
    assert len(set(sizes)) == 1
