"""A run in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedasr.runtime.callbacks.base import Callback, EvaluationFacts, Row, RunFacts, group_scalars, scalars
from fedasr.runtime.callbacks.extras import check_installed


class WandB(Callback):
    """Writes the config, and the rounds as history. A resumed run goes on in the W&B run that it began.

    Args:
        project: of W&B.
        entity: user or team; absent: the default of the account.
        mode: ``online``, ``offline`` or ``disabled``; absent: what ``WANDB_MODE`` says, or online.
        run_name: absent: the name of the run.

    Raises:
        InputError: the package ``wandb`` is not installed.
    """

    def __init__(
        self,
        project: str = "fedasr",
        entity: str | None = None,
        mode: str | None = None,
        run_name: str | None = None,
    ) -> None:
        check_installed("wandb", "wandb")
        self.project, self.entity, self.mode, self.run_name = project, entity, mode, run_name
        self.run: Any = None
        self.id: str | None = None
        self.groups: dict[str, float] = {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the W&B run of a state."""
        self.run, self.id, self.groups = None, state.get("id"), {}

    def state_dict(self) -> Mapping[str, Any]:
        """Return which W&B run it is."""
        return {} if self.id is None else {"id": self.id}

    def on_start(self, run: RunFacts) -> None:
        """Begin a W&B run, or go on with the one that the checkpoint names."""
        import wandb

        arguments: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "mode": self.mode,
            "name": self.run_name or run.name,
            "id": self.id,
            "resume": None if self.id is None else "allow",
            "dir": str(run.folder),
            "config": dict(run.config),
        }
        # The code, the terminal and the machine are nobody's business.
        quiet: dict[str, Any] = {"silent": True, "console": "off", "disable_git": True, "x_disable_stats": True}
        self.run = wandb.init(**arguments, settings=wandb.Settings(**quiet, disable_code=True, save_code=False))
        self.id = str(self.run.id)

    def on_evaluation(self, evaluation: EvaluationFacts) -> None:
        """Keep the groups for the round's step: W&B takes a step once."""
        self.groups = group_scalars(evaluation)

    def on_round(self, row: Row) -> None:
        """Write the round."""
        self.run.log({**scalars(row), **self.groups}, step=int(row["round"]), commit=True)
        self.groups = {}

    def on_end(self, status: str, summary: Mapping[str, Any]) -> None:
        """End the W&B run."""
        if self.run is not None:
            self.run.finish(exit_code=0 if status == "done" else 1)
            self.run = None
