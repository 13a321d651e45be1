"""Laws of reading a config: whatever it is given, the answer is a config or one line that says what is wrong."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from fedasr.config import Config, load, override, to_dict
from fedasr.config.schema import walk
from fedasr.errors import InputError
from tests.tiers import examples

KEYS = [name for name, _ in walk()]
PARTS = sorted({part for name in KEYS for part in name.split(".")})
QUICK = settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["???", "${", "${seed}", "${oc.env:HOME}", "a:b", "chars:ab", "-"])
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 40),
    st.floats(),
    st.floats(0, 1),
    st.binary(max_size=3),
    st.dates(),
    texts,
)
names = st.one_of(st.sampled_from(PARTS), st.text(max_size=8), st.integers(), st.none(), st.booleans())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)


def judged(source: Any, changes: Sequence[str] | Mapping[str, Any] = ()) -> Config | None:
    """Return the config, or None where it was refused in one printable line."""
    refusal = ""
    try:
        config = override(source, changes) if isinstance(changes, Mapping) else load(source, changes)
    except InputError as error:
        refusal = str(error)
    else:
        assert isinstance(config, Config)
        return config
    assert refusal.strip()
    assert refusal.isprintable()
    return None


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


@pytest.mark.slow
@QUICK
@given(st.dictionaries(names, values, max_size=4))
@example({"rounds": float("inf")})
@example({"data": {"where": {"a": {"b": "???"}}}})
@example({"name": "\\${nothing}"})
@example({"seed": datetime.date(2020, 1, 1)})
def test_any_mapping(tree: Mapping[Any, Any]) -> None:
    judged(tree)


@pytest.mark.thorough
@QUICK
@given(st.sampled_from(KEYS), values)
@example("client.learning_rate", 10**400)
@example("data.where", {None: 1})
@example("model.channels", ["???"])
def test_any_value_of_any_key(key: str, value: Any) -> None:
    """What is accepted can be written down and read back to the same config."""
    config = judged(nested(key, value))
    if config is not None:
        assert judged(to_dict(config)) == config


@pytest.mark.thorough
@QUICK
@given(st.lists(st.one_of(texts, st.builds("{}={}".format, st.sampled_from(KEYS), texts)), max_size=3))
@example(["rounds=1" + "0" * 5000])
@example(["name=!!timestamp x"])
@example(["name=" + "[" * 2000])
@example(["client[epochs]=3"])
@example(["[=]"])
def test_any_arguments(arguments: list[str]) -> None:
    judged({}, arguments)


@pytest.mark.thorough
@QUICK
@given(st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), values, max_size=3))
def test_any_overrides(changes: dict[str, Any]) -> None:
    judged(Config(), changes)


@pytest.mark.thorough
@QUICK
@given(
    content=st.one_of(
        st.binary(max_size=60), st.text(alphabet="ab:{}[]-?!&*#|>'\"%@`,. \t\n0~", max_size=40).map(str.encode)
    )
)
@example(content=b"? [a]\n: 1")
@example(content=b"!!set {a}")
@example(content=b"a: !!bool x")
@example(content=b"a: !!timestamp x")
@example(content=b"a: !!binary \xc3\xa9")
@example(content=b"a: &a [*a]")
@example(content=b"a: 1" + b"0" * 5000)
@example(content=b"\xff\xfea\x00")
@example(content=b"{" * 2000)
def test_any_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(content)
    judged(path)


@pytest.mark.thorough
@QUICK
@given(st.text(max_size=300))
def test_any_path(name: str) -> None:
    assume(not Path(name).is_file() if "\0" not in name and len(name) < 200 else True)
    judged(name)


@pytest.mark.slow
def test_bytes_that_break_a_sound_file(tmp_path: Path) -> None:
    """Every single byte of a small file, replaced by some that mean something to YAML."""
    path = tmp_path / "sound.yaml"
    sound = b"name: a\nrounds: 3\nclient:\n  epochs: 2\ndata:\n  where: {gender: [f, m]}\n"
    accepted = 0
    for position in range(len(sound)):
        for byte in (b"\0", b"\t", b"'", b"{", b"\xff"):
            path.write_bytes(sound[:position] + byte + sound[position + 1 :])
            accepted += judged(path) is not None
    assert 0 < accepted < 2.5 * len(sound)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_no_key_takes_a_mapping_a_nested_list_or_a_date(key: str) -> None:
    wrong: list[Any] = [[[1]], datetime.date(2020, 1, 1)]
    if key not in ("data.where", "data.exclude", "pate.public.where"):
        wrong.append({"a": 1})
    for value in wrong:
        with pytest.raises(InputError, match=rf"^config: .*'{key}'"):
            load(nested(key, value))


def test_a_changed_entry_of_a_mapping_leaves_the_others() -> None:
    sound = {"data": {"where": {"gender": "f", "lang": "ar"}}, "evaluate": {"by": ["gender", "lang"]}}
    changed = load(sound, ["data.where.gender=m", "evaluate.by=[age]"])
    assert changed.data.where == {"gender": "m", "lang": "ar"}
    assert changed.evaluate.by == ["age"]
    assert override(load(sound), {"data.where.gender": "m", "evaluate.by": ["age"]}) == changed
