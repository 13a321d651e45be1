"""What pyproject.toml asks for loads together, and installs without constraints."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.e2e.tiny import ROOT, copy_checkout

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
WHOLE = """
import sys
import torch
import torchaudio

frame = torchaudio.transforms.MelSpectrogram(16000, n_mels=40)(torch.ones(400))
assert frame.isfinite().all()
scores = torch.zeros(1, 2, 2, 3)
one, two = (torch.tensor([n], dtype=torch.int32) for n in (1, 2))
loss = torchaudio.functional.rnnt_loss(scores, torch.ones(1, 1, dtype=torch.int32), two, one, blank=0)
# Two paths of three steps, each step of probability 1/3: -log(2 / 27).
assert abs(loss.item() - 2.6027) < 1e-4, loss
"""
RUN = """
import fedasr
changes = {"rounds": 1, "data.clients": 4, "selection.clients_per_round": 2, "runtime.executor": "serial"}
assert fedasr.run("quickstart", out="run", overrides=changes).finished
"""


@pytest.mark.thorough
def test_the_installed_pair_computes_a_feature_and_a_transducer_loss() -> None:
    """torchaudio and torch that do not belong together fail at the import, or at the first kernel."""
    done = subprocess.run([sys.executable, "-c", WHOLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_installed_is_what_is_asked_for() -> None:
    for name, requirement in REQUIRED.items():
        assert importlib.metadata.version(name) in requirement.specifier, name


def test_the_pair_is_one_that_loads_whatever_is_resolved() -> None:
    """torchaudio up to 2.11.0 wants the torch of its own number, 2.11.1 any from 2.15."""
    assert "2.11.0" not in REQUIRED["torchaudio"].specifier
    assert "2.11.1" in REQUIRED["torchaudio"].specifier
    assert "2.14.1" not in REQUIRED["torch"].specifier
    assert "2.15.0" in REQUIRED["torch"].specifier


def test_every_range_has_a_lower_end() -> None:
    for requirement in REQUIRED.values():
        assert any(part.operator in (">=", "==", "~=") for part in requirement.specifier), str(requirement)


def test_constraints_are_a_resolution_of_the_ranges() -> None:
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        pinned[canonicalize_name(requirement.name)] = Version(pin.version)
    for name, requirement in REQUIRED.items():
        assert pinned[name] in requirement.specifier, str(requirement)
    for extra in PROJECT["optional-dependencies"].values():
        for requirement in map(Requirement, extra):
            if requirement.name != "fedasr":
                assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", ["highest", "lowest-direct"])
def test_an_installation_without_constraints(tmp_path: Path, resolution: str) -> None:
    """A fresh environment from pyproject.toml alone, at either end of its ranges."""
    uv = [sys.executable, "-m", "uv"]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "UV_CONSTRAINT")}
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "venv")], env=environment, check=True)
    source = tmp_path / "source"
    source.mkdir()
    copy_checkout(source)
    target = f"{source}[synth]"
    python = str(tmp_path / "venv" / "bin" / "python")
    # uv, started as a module, installs beside itself unless it is told where.
    install = [*uv, "pip", "install", "-q", "--python", python, "--resolution", resolution, target]
    done = subprocess.run(install, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and any(words in done.stderr for words in ("Could not connect", "dns error", "Failed to fetch")):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    for script in (WHOLE, RUN):
        done = subprocess.run([python, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
