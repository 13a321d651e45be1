"""What a model hears in a device's speech."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.machine_labels import Untranscribed
from fedasr.models.weights import Arrays
from fedasr.training.local import Resident
from fedasr.training.self_labels import Hypotheses, hear

from .speech import Device

Rows = npt.NDArray[np.integer]


def heard_by(device: Device, model: Resident, weights: Arrays, rows: Rows) -> Hypotheses:
    """Return what a model with these weights hears greedily in rows of a device, in their order.

    Args:
        device: at work on a message.
        model: this process's; its weights are changed.
        weights: of the model that hears.
        rows: of the corpus; their transcripts are not read.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    run = device.experiment
    speech = Untranscribed.of(device.speech)
    model.load(weights)
    # Where an utterance is protected from the others, padding must not depend on them.
    size = 1 if run.config.privacy.unit == "example" else run.config.evaluate.batch_size
    order = np.argsort(speech.durations[rows], kind="stable")
    target = model.parameters.device
    parts = [
        hear(model.model, speech.batch(rows[order[first : first + size]]).to(target), run.tokenizer)
        for first in range(0, len(rows), size)
    ]
    heard = Hypotheses.joined(parts)
    before = {row: place for place, row in enumerate(rows.tolist())}
    places = np.argsort(np.array([before[row] for row in heard.rows], np.int64))
    return Hypotheses(
        tuple(heard.rows[place] for place in places),
        tuple(heard.texts[place] for place in places),
        heard.confidence[places],
        heard.fits[places],
        heard.frames,
        heard.blanks,
    )
