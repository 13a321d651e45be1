"""Parts of a user's own get what they have parameters for, and options that fit their signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fedasr.errors import InputError
from fedasr.registry import make_part

KNOWN = {"mel_bins": 40, "vocabulary_size": 30}
HERE = __name__


class Own:
    def __init__(self, vocabulary_size: int, width: int = 8, *, depth: int) -> None:
        self.seen = (vocabulary_size, width, depth)


def anything(**options: Any) -> dict[str, Any]:
    return options


def by_position(settings: Any, share: float = 0.5) -> tuple[Any, float]:
    return settings, share


def failing(mel_bins: int) -> None:
    raise ValueError(f"{mel_bins} is too many")


def make(name: str, options: Mapping[str, Any], leading: tuple[Any, ...] = ()) -> Any:
    return make_part(f"{HERE}:{name}", "model.name", KNOWN, options, "model.options", leading)


def test_a_part_gets_what_it_has_parameters_for() -> None:
    assert make("Own", {"depth": 2}).seen == (30, 8, 2)
    assert make("Own", {"depth": 2, "width": 3}).seen == (30, 3, 2)
    assert make("anything", {"depth": 2}) == {"depth": 2}


def test_a_first_parameter_of_another_name_gets_the_leading_value() -> None:
    assert make("by_position", {}, ("config",)) == ("config", 0.5)
    assert make("by_position", {"share": 0.1}, ("config",)) == ("config", 0.1)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("Own", {"depth": 1, "widht": 3}, "unknown option 'model.options.widht' (did you mean 'width'?)"),
        ("Own", {}, f"'model.name' is '{HERE}:Own', which needs 'depth'; set 'model.options.depth'"),
        ("Own", {"depth": 1, "vocabulary_size": 3}, "'model.options.vocabulary_size' is given by FedASR; leave it out"),
        ("failing", {}, "which failed: ValueError: 40 is too many"),
        ("KNOWN", {}, "which cannot be called"),
        ("Nothing", {}, "has no 'Nothing'"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        make(name, options)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
