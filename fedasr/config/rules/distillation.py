"""What a teacher cannot label, and what a student cannot learn."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_distillation(config: Config, where: str) -> None:
    """Raise on a teacher without speech to label, or on targets that would not fit what the student hears.

    Raises:
        InputError: naming the keys and what to change.
    """
    distillation, model = config.distillation, config.model
    if distillation.teacher is None:
        return

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    if config.interleave.labelled_share == 1:
        refuse(
            "'distillation.teacher' is set but 'interleave.labelled_share' is 1: all transcripts are read, and nothing"
            " is left to label; set the share of the speakers whose transcripts are, for example 0.05"
        )
    targets = distillation.targets
    families = {"frames": ("ctc", "ctc-conformer"), "lattice": ("rnnt",)}.get(targets)
    if families is None:
        return
    if model.name not in families and ":" not in model.name:
        refuse(
            f"'distillation.targets' is '{targets}' but 'model.name' is '{model.name}'; expected"
            f" {' or '.join(families)}, or set distillation.targets=labels"
        )
    for name in ("speed", "time_shift_ms"):
        if getattr(config.data.augment, name):
            refuse(
                f"'distillation.targets' is '{targets}' but 'data.augment.{name}' is set: what the student hears would"
                " be at another time than what the teacher says of it; set it to 0, or distillation.targets=labels"
            )
