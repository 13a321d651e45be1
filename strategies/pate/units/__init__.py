"""What the teachers are asked, by the unit of a vote.

``utterance``: which of the candidates was said; one query an utterance. ``token``: what comes next under a prefix that
is released already, the same for all teachers; a query a token, and the end of the sentence is one, so that how long a
label is comes out of released votes too. ``frame``: which token, or the blank, each output frame of CTC has; a query a
frame, and how many there are follows from the public speech.
"""

from __future__ import annotations

from fedasr.models.tokenizer import Tokenizer

from ..public import PublicSpeech
from .base import Questions, Unit
from .frames import FrameVotes
from .tokens import TokenVotes
from .utterances import UtteranceVotes

UNITS: dict[str, type[UtteranceVotes | TokenVotes | FrameVotes]] = {
    "utterance": UtteranceVotes,
    "token": TokenVotes,
    "frame": FrameVotes,
}


def make_unit(name: str, public: PublicSpeech, tokenizer: Tokenizer) -> Unit:
    """Return the unit of ``pate.unit``."""
    return UNITS[name](public, tokenizer)


__all__ = ["FrameVotes", "Questions", "TokenVotes", "Unit", "UtteranceVotes", "make_unit"]
