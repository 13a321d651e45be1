"""A user's own part is found beside the config and in the working folder, hides nothing, and is never another's."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedasr.errors import InputError
from fedasr.references import load_reference, look_beside


@pytest.fixture(autouse=True)
def same_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder of its own; afterwards the path and the modules are as they were."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def config_in(folder: Path, **modules: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    config = folder / "config.yaml"
    config.write_text("rounds: 1\n")
    return config


def test_beside_the_config(tmp_path: Path) -> None:
    look_beside(config_in(tmp_path / "a", own_part="part = 1"))
    assert load_reference("own_part:part") == 1


def test_in_the_working_folder() -> None:
    config_in(Path.cwd(), own_part="part = 2")
    look_beside("quickstart")
    assert load_reference("own_part:part") == 2


def test_beside_the_config_comes_before_the_working_folder(tmp_path: Path) -> None:
    config_in(Path.cwd(), own_part="part = 2")
    look_beside(config_in(tmp_path / "a", own_part="part = 1"))
    assert load_reference("own_part:part") == 1


def test_nothing_there_hides_what_is_installed(tmp_path: Path) -> None:
    config = config_in(tmp_path / "a", colorsys="part = 1", json="part = 1")
    sys.modules.pop("colorsys", None)
    look_beside()
    before = [entry for entry in sys.path if entry != str(Path.cwd())]
    look_beside(config)
    assert sys.path[: len(before)] == before
    assert callable(load_reference("colorsys:rgb_to_hsv"))
    with pytest.raises(InputError, match=r"'selection.name' is 'json:part', and its module in .*/a/json.py is hidden"):
        load_reference("json:part", "selection.name")


def test_what_python_itself_holds_hides_it_too(tmp_path: Path) -> None:
    look_beside(config_in(tmp_path / "a", sys="part = 1"))
    with pytest.raises(InputError, match=r"/a/sys.py is hidden by Python itself; rename it"):
        load_reference("sys:part")


def test_the_module_of_an_earlier_config_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    look_beside(config_in(tmp_path / "a", own_part="part = 1"))
    assert load_reference("own_part:part") == 1
    look_beside(config_in(tmp_path / "b", own_part="part = 2"))
    with pytest.raises(InputError, match=r"loaded from .*/a/own_part.py, of another config; use another process"):
        load_reference("own_part:part")
    look_beside(config_in(tmp_path / "a"))
    assert load_reference("own_part:part") == 1


def test_a_folder_is_looked_in_no_longer_than_its_config_is_used(tmp_path: Path) -> None:
    name = f"own_part_{random.randrange(10**9)}"
    look_beside(config_in(tmp_path / "a", **{name: "part = 1"}))
    look_beside(config_in(tmp_path / "b"))
    with pytest.raises(InputError, match=f"there is no module '{name}' on the Python path, beside the config or in"):
        load_reference(f"{name}:part")


def test_packages_beside_the_config(tmp_path: Path) -> None:
    config = config_in(tmp_path / "a")
    package = tmp_path / "a" / "strategies_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("part = 1")
    (package / "inner.py").write_text("part = 2")
    look_beside(config)
    assert load_reference("strategies_of_mine:part") == 1
    assert load_reference("strategies_of_mine.inner:part") == 2
