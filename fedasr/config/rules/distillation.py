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
