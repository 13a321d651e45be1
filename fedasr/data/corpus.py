"""What a corpus is: a table of utterances, and a way to get the waveform of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000

Waveform = npt.NDArray[np.float32]
Column = npt.NDArray[np.generic]


class BadAudio(ValueError):
    """The audio of one utterance cannot be used; the message names the file (and line) and says why."""


@runtime_checkable
class Corpus(Protocol):
    """Utterances, columnar: nothing is loaded or rendered until a waveform is asked for.

    ``columns`` maps a name to an array of shape ``(utterances,)``. Always there: ``speaker``, ``text``, ``split``
    (text, object arrays) and ``duration_s`` (float32, seconds; exact where it is known, an estimate otherwise).
    Others (``gender``, ``accent``, ``timestamp``, …) can be partitioned on.
    """

    columns: Mapping[str, Column]

    def __len__(self) -> int:
        """Return the number of utterances."""
        ...

    def waveform(self, index: int) -> Waveform:
        """Return utterance ``index`` as float32, mono, 16,000 Hz, shape ``(samples,)``, values within ±1.

        Raises:
            BadAudio: the audio is missing, empty, truncated or not audio.
        """
        ...

    def content_key(self, index: int) -> bytes:
        """Return bytes that change whenever the waveform would: the key of the feature cache."""
        ...

    def where(self, index: int) -> str:
        """Return where utterance ``index`` comes from, for messages: ``manifest.csv:17 (audio/a.flac)``."""
        ...
