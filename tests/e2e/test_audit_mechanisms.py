"""The ledger of every shipped private config is not contradicted by its own mechanisms."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fedasr.audits.mechanism import audit_mechanism
from fedasr.config import load
from studies.audit_mechanisms import SIMULATIONS, private_configs

NAMES = private_configs()


@pytest.mark.quick
def test_there_are_private_configs() -> None:
    assert {"private_home_users", "private_home_utterances", "pate_home"} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_contradiction(name: str, speech: Path) -> None:
    started = time.process_time()
    report = audit_mechanism(load(SIMULATIONS / f"{name}.yaml"), alpha=0.001)
    assert not report.contradiction, [finding.sentence for finding in report.findings]
    assert time.process_time() - started < 60
