"""What a student cannot learn."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_distillation(config: Config, where: str) -> None:
    """Raise on targets that the student's family cannot learn, or that would not fit what it hears.

    Raises:
        InputError: naming the keys and what to change.
    """
    distillation, model = config.distillation, config.model
    if distillation.teacher is None:
        return

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    targets = distillation.targets
    if problem := of_counterfactual(targets, distillation.counterfactual):
        refuse(f"'distillation.counterfactual' is '{distillation.counterfactual}' but {problem}")
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


SAME_TIMES = ("pitch", "formant", "age", "device")
"""Counterfactuals that leave every sound at its time."""


def of_counterfactual(targets: str, counterfactual: str) -> str | None:
    """Say why the mean of what a teacher says of two voices is not defined; None where it is."""
    if counterfactual == "none":
        return None
    if targets == "lattice":
        return "'distillation.targets' is 'lattice', of which no mean is taken; set distillation.targets=sequence"
    if targets == "frames" and counterfactual not in SAME_TIMES:
        return (
            "'distillation.targets' is 'frames': another voice takes its own time, so that frames are no pairs; choose"
            f" {', '.join(SAME_TIMES)}, or set distillation.targets=sequence"
        )
    return None
