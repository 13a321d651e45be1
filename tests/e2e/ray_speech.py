"""Synthetic speech whose devices hang on one node of a Ray cluster, from the second round on.

The environment names a folder: there lie the node (``node``), the path of the run's journal of rounds (``journal``) and
what happened: ``joined`` when a device first ran on that node, ``caught`` when one hangs there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from fedasr.config.schema import DataConfig
from fedasr.data.synthetic import SyntheticCorpus

VARIABLE = "FEDASR_TEST_HANGS"


def hang() -> None:
    """Hang on the node, and elsewhere wait until a worker there has joined; on the server do nothing."""
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return
    folder = Path(os.environ[VARIABLE])
    journal = Path((folder / "journal").read_text())
    if ray.get_runtime_context().get_node_id() == (folder / "node").read_text():
        (folder / "joined").touch()
        if journal.exists() and journal.read_text():
            (folder / "caught").touch()
            time.sleep(120)
    end = time.monotonic() + 60
    while not (folder / "joined").exists() and time.monotonic() < end:
        time.sleep(0.05)


class Hangs(SyntheticCorpus):
    """A recording is asked for its key whenever it is used."""

    def content_key(self, index: int) -> bytes:
        hang()
        return super().content_key(index)


def hangs(config: DataConfig, seed: int) -> Hangs:
    return Hangs(config.synthetic, seed)
