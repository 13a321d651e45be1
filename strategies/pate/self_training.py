"""Self-training: the student labels public speech that has no released label, and learns the surest part of it too.

What the teachers released is paid for already, and nothing else private is read, so it costs no privacy. In every
stage the student labels anew, and keeps a larger part of its labels, the surest first (curriculum labelling,
Cascante-Bonilla et al., arXiv 2001.06001, but that the student goes on where it was: with few labels, starting anew
took several times the steps).
"""

from __future__ import annotations

from collections.abc import Sequence

from fedasr.models.base import Encoded, SpeechModel
from fedasr.training.self_labels import Hypotheses, chosen, hear

from .public import Ids, PublicSpeech

LEAST_LABELS = 16
"""Released labels that make a first stage, where the config does not say. Measured with RNN-T: students of
8 and 13 ended where the start alone does or above, one of 16 well below (docs/results/pate.md)."""
GUARD = ("empty",)


def own_labels(public: PublicSpeech, model: SpeechModel, rows: Ids, share: float) -> dict[int, str]:
    """Return what a student hears in the public speech of which it is surest: its text by row of the whole corpus.

    With unit ``utterance`` it chooses among the candidates, as a teacher does, otherwise it decodes greedily.

    Args:
        public: the speech.
        model: the student, on the device on which it is to run.
        rows: without a released label, shape ``(rows,)``.
        share: of those in which something is heard, between 0 and 1.

    Raises:
        InputError: an utterance cannot be decoded, and ``data.on_bad_audio`` is ``stop``.
    """
    run = public.run
    size, device = run.config.evaluate.batch_size, next(model.parameters()).device
    phrases = [run.tokenizer.encode(text) for text in public.candidates]

    def decode(encoded: Encoded) -> Sequence[Sequence[int]]:
        if run.config.pate.unit != "utterance":
            return model.greedy(encoded)
        internal_lm = run.config.pate.internal_lm
        bonus = -internal_lm * model.internal_lm(phrases) if internal_lm else None
        best = model.likeliest_phrases(encoded, phrases, bonus)
        return [phrases[place] if place >= 0 else [] for place in best]

    heard = Hypotheses.joined(
        [
            hear(model, public.whole.batch(rows[first : first + size]).to(device), run.tokenizer, decode)
            for first in range(0, len(rows), size)
        ]
    )
    return {heard.rows[place]: heard.texts[place] for place in chosen(heard, GUARD, share=share)}
