"""What a run imports before it needs it: nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

APPS = """
import sys
import fedasr.runtime.launch, fedasr.results.pages.report
import fedasr.strategies.server_app, fedasr.strategies.federated_run, fedasr.strategies.privacy.settling
unwanted = ("matplotlib", "scipy", "fedasr.strategies.pate", "jiwer", "torchaudio", "ray", "opacus")
print([name for name in unwanted if name in sys.modules])
"""


@pytest.mark.slow
def test_a_federated_run_imports_neither_pate_nor_figures() -> None:
    done = subprocess.run([sys.executable, "-c", APPS], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"


def test_the_command_line_imports_no_torch_before_it_is_needed() -> None:
    code = "import sys, fedasr.cli.main; print([m for m in ('torch', 'flwr', 'pandas', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"
