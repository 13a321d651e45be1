"""What is deployed: units that hold a service within limits, and an image of a base that is known to the byte."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
UNITS = ("fedasr-box.service", "fedasr-server.service")


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_limits_memory_files_and_system_calls(unit: str) -> None:
    said = (DEPLOY / unit).read_text()
    for key in ("MemoryMax", "LimitNOFILE", "TasksMax", "SystemCallFilter", "NoNewPrivileges", "ProtectSystem"):
        assert re.search(rf"^{key}=\S", said, re.MULTILINE), key


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_a_unit(unit: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    copy = tmp_path / unit
    copy.write_text((DEPLOY / unit).read_text().replace("/opt/fedasr/bin/fedasr", shutil.which("true") or "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    if "Failed to" in done.stderr and unit not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr}")
    assert unit not in done.stderr, done.stderr


def test_the_image_has_a_base_by_digest_and_no_second_index() -> None:
    said = (DEPLOY / "Containerfile").read_text()
    orders = [line for line in said.splitlines() if line and not line.startswith("#")]
    assert [line for line in orders if line.startswith("FROM")] == ["FROM ${BASE}"]
    assert "ARG BASE" in orders, "without a default"
    assert "extra-index-url" not in "\n".join(orders)
    assert "://" not in "\n".join(orders)


@pytest.mark.parametrize(
    ("base", "taken"),
    [
        ("python@sha256:" + "0" * 64, True),
        ("python:3.12-slim@sha256:" + "0" * 64, True),
        ("python:3.12-slim", False),
        ("python@sha256:" + "0" * 63, False),
        ("", False),
    ],
)
def test_a_base_without_a_digest_is_refused(base: str, taken: bool) -> None:
    """The check of the image itself, run by the shell."""
    said = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    check = next(line for line in said.splitlines() if line.startswith("RUN case"))
    done = subprocess.run(
        ["sh", "-c", check.removeprefix("RUN ")], env={"BASE": base}, check=False, capture_output=True
    )
    assert (done.returncode == 0) is taken
