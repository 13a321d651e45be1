"""A miniature of what a device does in a round, for ``fedasr edge doctor``: it decodes, makes features, learns one
step.

A device may read its manifest and every header and yet not train: a torch that does not load, features that fail.
Nothing of the round is kept, and nothing leaves the device.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fedasr.errors import InputError

CORPUS = "fedasr.clients.edge.corpus:device_corpus"
MODEL = {"encoder": "lstm", "channels": [8, 8], "hidden": 8, "alphabet": "auto"}
UTTERANCES = 2


def trial_round(manifest: Path) -> str:
    """Do a round with the first usable recordings of a manifest and return in words what was done.

    Raises:
        InputError: it cannot be done; saying what failed.
    """
    started = time.perf_counter()
    try:
        seconds, loss = train_once(manifest)
    except InputError:
        raise
    except Exception as error:  # whatever is wrong with the installation is what is looked for
        message = (str(error).splitlines() or [""])[0]
        raise InputError(f"a training round fails on this machine: {type(error).__name__}: {message}") from error
    took = time.perf_counter() - started
    return f"{seconds:.1f} s of speech were decoded, made features of and trained on, loss {loss:.2f}, in {took:.1f} s"


def train_once(manifest: Path) -> tuple[float, float]:
    """Return how much speech was trained on, in seconds, and the loss of it.

    Raises:
        InputError: there is no usable recording, or a loss or a weight is no finite number.
    """
    import numpy as np

    from fedasr.config import load
    from fedasr.data.check import has_transcripts
    from fedasr.data.machine_labels import Untranscribed
    from fedasr.experiment import Experiment
    from fedasr.training import local

    data: dict[str, Any] = {"corpus": CORPUS, "manifest": str(manifest), "clients": 1, "on_bad_audio": "skip"}
    data |= {"partition": {"name": "iid"}, "cache": {"directory": "off"}}
    tree: dict[str, Any] = {"data": data, "model": MODEL}
    bare = not has_transcripts(manifest)
    if bare:
        data["corpus_options"] = {"transcribed": False}
        tree |= {"model": {**MODEL, "alphabet": "latin"}, "client": {"labels": "self"}}
    run = Experiment(load(tree))
    rows = run.rows(run.config.data.train_split)[:UTTERANCES]
    batch = (Untranscribed.of(run.speech) if bare else run.speech).batch(rows)
    if not len(batch):
        raise InputError("none of the first recordings could be decoded", where=str(manifest))
    resident = local.Resident(run.model())
    state = local.init(resident, run.first_weights(), run.config.client, run.config.client.learning_rate)
    local.step(state, batch)
    weights, result = local.final(state)
    if not (np.isfinite(result.train_loss) and all(np.isfinite(array).all() for array in weights.values())):
        raise InputError("one step of training gives no finite loss or weights on this machine", where=str(manifest))
    return float(run.speech.durations[rows].sum()), float(result.train_loss)
