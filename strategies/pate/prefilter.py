"""Which public utterances are worth asking about, by how sure the public initial model is of them: it costs no privacy.

The initial model and the public speech are public, so the choice costs nothing. Where that model is sure already, a
label teaches little; where it hears nothing at all, teachers that began with it seldom agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.models.confidence import of_transcripts
from fedasr.models.weights import Arrays, load_arrays
from fedasr.typing import Floats

from .public import PublicSpeech


def narrow(public: PublicSpeech, run: Experiment, start: Arrays) -> None:
    """Leave of the public speech what ``pate.min_confidence`` and ``pate.max_confidence`` let pass, numbered anew.

    Raises:
        InputError: nothing passes, or an utterance cannot be decoded.
    """
    pate = run.config.pate
    if not public.filtered:
        return
    low = 0.0 if pate.min_confidence is None else pate.min_confidence
    high = 1.0 if pate.max_confidence is None else pate.max_confidence
    model = run.model()
    load_arrays(model, start)
    wanted = len(public) if pate.queries is None else pate.queries
    phrases = [run.tokenizer.encode(text) for text in public.candidates]
    kept: list[int] = []
    surest, least = 0.0, 1.0
    for first in range(0, len(public), run.config.evaluate.batch_size):
        if len(kept) >= wanted:
            break
        batch = public.speech.batch(np.arange(first, min(first + run.config.evaluate.batch_size, len(public))))
        if not len(batch):  # nothing of it can be decoded, and ``data.on_bad_audio`` is ``skip``
            continue
        places = np.array(batch.indices, np.int64)
        shares = confidences(model, batch, phrases)
        surest, least = max(surest, float(shares.max())), min(least, float(shares.min()))
        kept += places[(shares >= low) & (shares <= high)].tolist()
    if not kept:
        raise InputError(
            f"no public utterance passes 'pate.min_confidence' and 'pate.max_confidence' ({low:g} to {high:g}); the"
            f" confidence of the public initial model is between {least:.3f} and {surest:.3f}"
        )
    public.keep(np.array(kept[:wanted], np.int64))


def confidences(model: SpeechModel, batch: Batch, phrases: Sequence[Sequence[int]]) -> Floats:
    """Return how sure a model is of each utterance, between 0 and 1, shape ``(batch,)``.

    With candidates the posterior of the likeliest; without, the probability of what it hears, as a geometric mean over
    the tokens and the end.

    Args:
        model: the public initial model.
        batch: utterances.
        phrases: tokens of the candidates; none for units that have none.
    """
    with model.as_it_decodes():
        encoded = model.encode(batch)
        if phrases:
            scores = model.phrase_scores(encoded, phrases).double()
            best = scores.softmax(dim=1).max(dim=1).values
            return np.nan_to_num(np.asarray(best.numpy(), np.float64))
        return of_transcripts(model, encoded, model.greedy(encoded))
