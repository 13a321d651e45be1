"""A key that is set though nothing reads it: refused or warned of, by the conditions that the schema declares."""

from __future__ import annotations

import pytest

from fedasr.config import Config, override
from fedasr.config.rules.unread import leaves, reason, unread, warnings
from fedasr.config.schema import walk
from fedasr.config.schema.conditions import Condition, either, unless, value_of, when
from fedasr.errors import InputError


def changed(*overrides: str) -> Config:
    return override(Config(), list(overrides))


def test_when_unless_and_either() -> None:
    config = Config()
    assert when("client.optimizer", "sgd").holds(config)
    assert not when("client.optimizer", "adamw").holds(config)
    assert unless("client.optimizer", "adamw").holds(config)
    assert when("client.steps", None).holds(config)
    assert not unless("client.steps", None).holds(config)
    assert either(when("model.name", "las"), when("model.encoder", "blstm")).holds(config)
    assert str(unless("client.steps", None)) == "`client.steps` is set"
    assert str(when("devices.clock", True)) == "`devices.clock` is `true`"
    assert when(".steps", None).within("client.").key == "client.steps"


def test_what_a_part_of_ones_own_reads_is_not_known() -> None:
    config = changed("selection.name=mine:Mine")
    assert when("selection.name", "activity").holds(config)


def test_nothing_is_unread_by_default() -> None:
    assert not list(unread(Config()))


def test_a_warning_says_why_and_what_to_do() -> None:
    config = changed("client.optimizer=adamw", "client.momentum=0.9")
    assert warnings(config) == [
        "'client.momentum' is set but 'client.optimizer' is 'adamw', which does not read it; leave it out, or set"
        " client.optimizer=sgd"
    ]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["devices.dropout=0.1"], "'devices.dropout' is set but 'devices.clock' is false, which does not read it"),
        (["privacy.clip_norm=2.0"], "'privacy.clip_norm' is set but 'privacy.unit' is 'none'"),
        (["stream.periods=2"], "'stream.periods' is set but 'stream.arrival' is 'static'"),
        (["pate.scale=2.0"], "'pate.scale' is set but 'strategy.name' is 'fedavg'.*set strategy.name=pate"),
        (["strategy.norm_bound=1.0"], "'strategy.norm_bound' is set but 'strategy.aggregation' is 'mean'"),
        (["runtime.gpus_per_client=0.5"], "'runtime.gpus_per_client' is set but 'runtime.name' is 'local'"),
    ],
)
def test_what_is_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(InputError, match=line):
        changed(*overrides)


def test_every_condition_names_a_key_and_values_that_it_can_have() -> None:
    """A condition on a key that is renamed, or on a value that no longer exists, would never hold."""
    keys = dict(walk())
    seen = 0
    for leaf in leaves():
        for result in leaf.conditions:
            for condition in (result,) if isinstance(result, Condition) else result.conditions:
                assert condition.key in keys, (leaf.key, condition)
                choices = keys[condition.key].metadata["choices"]
                if choices:
                    assert set(condition.values) <= set(choices), (leaf.key, condition)
                seen += 1
    assert seen > 80


def test_the_reason_of_every_condition_can_be_told() -> None:
    config = Config()
    for leaf in leaves():
        for condition in leaf.conditions:
            assert reason(config, leaf.key, condition).startswith(f"'{leaf.key}' is set but '")
        assert value_of(config, leaf.key) == leaf.default
