"""The callbacks of a run, called one after the other; one that fails is named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedasr.errors import InputError, RunFailed
from fedasr.references import failure
from fedasr.runtime.callbacks.base import Callback, EvaluationFacts, Row, RunFacts


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: by name, in the order in which they are called.
    """

    def __init__(self, callbacks: Mapping[str, Callback]) -> None:
        self.callbacks = callbacks
        self.states: Mapping[str, Mapping[str, Any]] = {}
        self.started: list[str] = []

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def load(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the states of a checkpoint, by name; each callback gets its own when it starts."""
        self.states = states

    def start(self, run: RunFacts) -> None:
        """Tell all that the run starts or goes on."""
        self.started = []
        for name in self.callbacks:
            self.call(name, "load_state_dict", dict(self.states.get(name, {})))
            self.started.append(name)
            self.call(name, "on_start", run)

    def evaluation(self, evaluation: EvaluationFacts) -> list[str]:
        """Tell all of an evaluation, and return why the run should end, where one asks for it."""
        return self.reasons("on_evaluation", evaluation)

    def round(self, row: Row) -> list[str]:
        """Tell all of a round, and return why the run should end, where one asks for it."""
        return self.reasons("on_round", row)

    def checkpoint(self, round: int) -> None:
        """Tell all that the checkpoint of a round is on the disk."""
        for name in self.callbacks:
            self.call(name, "on_checkpoint", round)

    def end(self, status: str, summary: Mapping[str, Any], quietly: bool = False) -> None:
        """Tell all that have started that the run is over.

        Args:
            status: of the run.
            summary: of the run.
            quietly: say nothing of one that fails.

        Raises:
            RunFailed: one fails; the others are told all the same.
        """
        failures = []
        started, self.started = self.started, []
        for name in started:
            try:
                self.call(name, "on_end", status, dict(summary))
            except RunFailed as error:
                failures.append(error)
        if failures and not quietly:
            raise failures[0]

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the states, by name; only of those that have one.

        Raises:
            RunFailed: one fails, or its state is no JSON.
        """
        states: dict[str, dict[str, Any]] = {}
        for name in self.callbacks:
            state = self.call(name, "state_dict") if name in self.started else self.states.get(name, {})
            if not isinstance(state, Mapping):
                raise RunFailed(f"callback '{name}': state_dict returned {state!r}; expected a mapping")
            try:
                text = json.dumps(dict(state), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise RunFailed(f"callback '{name}': its state cannot be kept: {error}; expected JSON values") from None
            if state:
                states[name] = json.loads(text)
        return states

    def reasons(self, hook: str, argument: Any) -> list[str]:
        """Call a hook of all, and return why the run should end, in the words of each that asks for it."""
        texts = []
        for name in self.callbacks:
            reason = self.call(name, hook, argument)
            if reason is None:
                continue
            if not isinstance(reason, str) or not reason:
                raise RunFailed(
                    f"callback '{name}': {hook} returned {reason!r}; expected None, or in a text why the run should end"
                )
            texts.append(f"{name}: {reason}")
        return texts

    def call(self, name: str, hook: str, *arguments: Any) -> Any:
        """Return what a hook of a callback returns.

        Raises:
            RunFailed: it raised; the line names the callback, the hook and the place.
        """
        try:
            return getattr(self.callbacks[name], hook)(*arguments)
        except (InputError, RunFailed) as error:
            raise RunFailed(f"callback '{name}', {hook}: {error}") from error
        except Exception as error:
            raise RunFailed(
                f"callback '{name}', {hook}: {failure(error)}; mend or leave out the callback, and resume the run"
            ) from error


def named(callbacks: Iterable[tuple[str, Callback]]) -> dict[str, Callback]:
    """Return callbacks by name; where two have one name, the second is numbered."""
    by_name: dict[str, Callback] = {}
    for name, callback in callbacks:
        number, free = 1, name
        while free in by_name:
            number += 1
            free = f"{name} {number}"
        by_name[free] = callback
    return by_name


def given(callbacks: Sequence[object]) -> list[tuple[str, Callback]]:
    """Return callbacks that were given as objects, each named by its class.

    Raises:
        InputError: one is none.
    """
    pairs = []
    for number, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            raise InputError(
                f"'callbacks[{number}]' is {callback!r}; expected an object whose class inherits from fedasr.Callback"
            )
        pairs.append((type(callback).__name__, callback))
    return pairs
