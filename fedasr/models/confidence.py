"""How sure a model is of what it hears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedasr.models.base import Encoded, SpeechModel
from fedasr.typing import Floats


def of_transcripts(model: SpeechModel, encoded: Encoded, transcripts: Sequence[Sequence[int]]) -> Floats:
    """Return the probability of one transcript an utterance, as a geometric mean over its tokens and the end.

    Args:
        model: any family.
        encoded: the utterances.
        transcripts: the tokens of each; may be empty.

    Returns:
        Between 0 and 1, shape ``(utterances,)``.
    """
    if not len(transcripts):
        return np.zeros(0)
    log_probabilities = model.transcript_log_probability(encoded, transcripts).cpu().numpy()
    return np.asarray(np.exp(log_probabilities / np.array([len(tokens) + 1 for tokens in transcripts])), np.float64)
