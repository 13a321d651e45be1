"""What the callbacks of a run are told, what they may answer, and how `log` names them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from fedasr.config import load
from fedasr.config.loading import to_yaml
from fedasr.config.schema.log import CALLBACKS
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import as_json
from fedasr.runtime.callbacks import Callback, Callbacks, EarlyStopping, given, named
from fedasr.runtime.callbacks.extras import check_installed
from fedasr.runtime.callbacks.factory import SHIPPED, make_callbacks
from fedasr.runtime.run_folder import ROUND_COLUMNS


def row(round: int, **values: float) -> dict[str, float]:
    return {**dict.fromkeys(ROUND_COLUMNS, math.nan), "round": round, **values}


def answers(stopping: EarlyStopping, values: list[float], first: int = 1) -> list[str | None]:
    return [stopping.on_round(row(number, wer=value)) for number, value in enumerate(values, first)]


def test_early_stopping_counts_values_that_are_no_better() -> None:
    stopping = EarlyStopping(patience=2)
    assert answers(stopping, [0.9, math.nan, 0.8, 0.8, math.nan, 0.7, 0.75]) == [None] * 7
    assert stopping.on_round(row(8, wer=0.7)) == "wer is no better than its 70.0 % of round 6 (patience 2)"


def test_early_stopping_wants_a_difference() -> None:
    assert answers(EarlyStopping(patience=1, min_delta=0.1), [0.9, 0.75])[1] is None
    assert answers(EarlyStopping(patience=1, min_delta=0.1), [0.9, 0.85])[1] is not None


def test_early_stopping_goes_on_from_its_state() -> None:
    values = [0.5, 0.4, 0.45, 0.41]
    for cut in range(len(values) + 1):
        first, second = EarlyStopping(patience=2), EarlyStopping(patience=2)
        before = answers(first, values[:cut])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        result = before + answers(second, values[cut:], cut + 1)
        assert result == [None, None, None, "wer is no better than its 40.0 % of round 2 (patience 2)"]


def test_an_object_that_serves_another_run_begins_anew() -> None:
    stopping = EarlyStopping(patience=1)
    answers(stopping, [0.1])
    stopping.load_state_dict({})
    assert answers(stopping, [0.9]) == [None]


class Says(Callback):
    def __init__(self, reason: Any = None, state: Any = None) -> None:
        self.reason = reason
        self.state = {} if state is None else state

    def on_round(self, row: Any) -> Any:
        if isinstance(self.reason, Exception):
            raise self.reason
        return self.reason

    def state_dict(self) -> Any:
        return self.state


def started(*callbacks: Callback) -> Callbacks:
    result = Callbacks(named(given(callbacks)))
    result.start(None)  # type: ignore[arg-type]
    return result


def test_all_are_told_and_two_of_a_class_are_told_apart() -> None:
    assert started(Says(), Says("a"), Says("b")).round(row(1)) == ["Says 2: a", "Says 3: b"]


@pytest.mark.parametrize(
    ("callback", "line"),
    [
        (Says(True), "callback 'Says': on_round returned True; expected None, or in a text why the run should end"),
        (Says(ZeroDivisionError("of what?")), "callback 'Says', on_round: ZeroDivisionError: of what? ("),
        (Says(InputError("no such thing", where="there")), "callback 'Says', on_round: there: no such thing"),
    ],
)
def test_one_that_fails_is_named(callback: Callback, line: str) -> None:
    with pytest.raises(RunFailed) as caught:
        started(callback).round(row(1))
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("state", [3, {"a": {1, 2}}, {"a": math.nan}])
def test_a_state_is_json(state: Any) -> None:
    with pytest.raises(RunFailed, match="callback 'Says': "):
        started(Says(state=state)).state_dict()


def test_until_it_has_started_the_state_is_that_of_the_checkpoint() -> None:
    result = Callbacks(named(given([Says(state={"new": 1})])))
    result.load({"Says": {"old": 1}, "Gone": {"a": 2}})
    assert result.state_dict() == {"Says": {"old": 1}}
    result.start(None)  # type: ignore[arg-type]
    assert result.state_dict() == {"Says": {"new": 1}}


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"'callbacks\[1\]' is 3; expected an object whose class inherits from"):
        given([Says(), 3])


def test_log_takes_names_and_options() -> None:
    config = load("quickstart", ["log=[early-stopping,{name: early-stopping, options: {metric: loss, patience: 5}}]"])
    first, second = (callback for _, callback in make_callbacks(config))
    assert isinstance(first, EarlyStopping)
    assert isinstance(second, EarlyStopping)
    assert (first.metric, second.metric, second.patience) == ("wer", "loss", 5)
    assert load({"log": ["mine:Own"]}).log == ["mine:Own"]
    assert "- name: early-stopping" in to_yaml(config)


def test_every_name_is_of_a_callback() -> None:
    assert sorted(SHIPPED) == sorted(CALLBACKS)


def test_clients_are_not_told_who_watches() -> None:
    assert "log" not in json.loads(as_json(load({"log": ["early-stopping"]})))


STOPPING = "early-stopping"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("tensorboard", "'log' is 'tensorboard'; expected a list of names, or of mappings with a name and options"),
        (["tensorbord"], "'log[0]' is 'tensorbord' (did you mean 'tensorboard'?); expected one of: "),
        ([STOPPING, 3], "'log' has 3; expected a name, or a mapping such as"),
        ([{"nam": STOPPING}], "unknown key 'log[0].nam' (did you mean 'name'?); known here: name, options"),
        ([{"name": STOPPING, "options": 3}], "'log[0].options' is 3; expected a mapping"),
        ([{"name": STOPPING, "options": {"a b": 3}}], "'log[0].options' has the key 'a b'; expected the name of a"),
    ],
)
def test_what_log_does_not_take(log: Any, line: str) -> None:
    with pytest.raises(InputError) as caught:
        load({"log": log})
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (
            {"name": STOPPING, "options": {"patince": 3}},
            "unknown option 'log[0].options.patince' (did you mean 'patience'?); 'early-stopping' takes: metric,"
            " patience, min_delta",
        ),
        (
            {"name": STOPPING, "options": {"metric": "wrr"}},
            "'log[0]' is 'early-stopping': 'metric' is 'wrr' (did you mean 'wer'?); expected one of: wer, cer,",
        ),
        ({"name": STOPPING, "options": {"patience": 0}}, "'log[0]' is 'early-stopping': 'patience' is 0; expected a"),
        ({"name": STOPPING, "options": {"min_delta": -1}}, "'min_delta' is -1; expected a finite number"),
        ("fedasr.errors:one_line", "'log[0]' is 'fedasr.errors:one_line', which makes no callback"),
        ("nowhere:Own", "'log[0]' is 'nowhere:Own', but there is no module 'nowhere'"),
    ],
)
def test_what_a_callback_does_not_take(item: Any, line: str) -> None:
    with pytest.raises(InputError) as caught:
        make_callbacks(load({"log": [item]}))
    assert line in str(caught.value)


def test_a_package_that_is_missing_names_the_extra() -> None:
    with pytest.raises(InputError) as caught:
        check_installed("there_is_no_such_package", "tensorboard")
    assert str(caught.value).endswith("pip install 'fedasr[tensorboard]'")
