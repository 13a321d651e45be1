"""What the server is told of labels that devices have made: columns of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fedasr.protocol import Metric

NAN = float("nan")


@dataclass(frozen=True)
class LabelCounts:
    """Counts of one device or of several; they add up. Those that were not told are 0."""

    untranscribed: int = 0
    kept: int = 0
    empty: int = 0
    agreed: int = 0
    frames: int = 0
    blank_frames: int = 0
    label_words: int = 0
    label_errors: int = 0

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> LabelCounts:
        """Return the counts of a training reply, which was checked; what says nothing of labels was not."""
        if Metric.UNTRANSCRIBED not in metrics:
            return cls()
        return cls(**{part.name: int(metrics.get(getattr(Metric, part.name.upper()), 0)) for part in fields(cls)})

    def __add__(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))

    def columns(self) -> dict[str, float]:
        """Return the columns of ``rounds.parquet`` and ``clients.parquet``; NaN where there is nothing to divide by."""
        heard = self.untranscribed
        return {
            "kept_share": share(self.kept, heard),
            "label_wer": share(self.label_errors, self.label_words),
            "blank_share": share(self.blank_frames, self.frames),
            "empty_share": share(self.empty, heard),
            "teacher_agreement": share(self.agreed, heard),
        }


def share(part: int, whole: int) -> float:
    """Return a ratio; NaN where there is nothing."""
    return part / whole if whole else NAN
