"""Nobody but the room knows Flower's private surface, the room says what it needs, and a changed Flower is named."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedasr.cli.main import main
from fedasr.flower import PARTS, SUPPORTED, UnsupportedFlower, check, installed
from fedasr.flower.surface import supported

ROOT = Path(__file__).parents[3]
ROOM = ROOT / "fedasr" / "flower"
CODE = ("fedasr", "strategies", "clients", "benchmarks", "studies")
PUBLIC = ("flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy", "flwr.simulation")
"""Modules whose exported names Flower documents and keeps."""
MEASURED = ROOT / "benchmarks" / "flower_secagg.py"
"""What it measures is Flower's own legacy path."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != MEASURED:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what a module imports of Flower: module and name, which is empty where the module itself is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "flwr":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "flwr")


def is_public(module: str, name: str) -> bool:
    return module in PUBLIC and name in importlib.import_module(module).__all__


def hidden(tree: ast.Module) -> Iterator[str]:
    """Yield what a module touches that its owner calls private: fields of other objects that begin with ``_``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "__dict__":
            of_self = isinstance(node.value.value, ast.Name) and node.value.value.id == "self"
            if isinstance(node.slice, ast.Constant) and str(node.slice.value).startswith("_") and not of_self:
                yield str(node.slice.value)
        if isinstance(node, ast.Attribute) and node.attr in ("_runtime_client", "_message_id", "_src_node_id"):
            yield node.attr


def patched(tree: ast.Module) -> Iterator[str]:
    """Yield what of Flower, or of what it serves with, a module replaces."""
    names = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0] in ("flwr", "uvicorn")
    }
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = [t.value for t in node.targets if isinstance(t, ast.Attribute)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            targets = node.args[:1]
        yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id in names)


@pytest.mark.slow
def test_nobody_else_enters_what_flower_keeps_private() -> None:
    entered = {
        f"{path.relative_to(ROOT)}: {result}"
        for path, tree in modules()
        if ROOM not in path.parents
        for result in [
            *(f"{module}.{name}" for module, name in imported(tree) if not is_public(module, name)),
            *hidden(tree),
            *patched(tree),
        ]
    }
    assert not entered


def test_the_guard_sees_who_enters() -> None:
    tree = ast.parse(
        "import uvicorn\nfrom flwr.supercore.run import Run\nimport flwr.proto\nuvicorn.run = 1\n"
        "setattr(Run, 'x', 1)\nm.metadata.__dict__['_message_id'] = 1\ngrid._runtime_client"
    )
    assert list(imported(tree)) == [("flwr.supercore.run", "Run"), ("flwr.proto", "")]
    assert sorted(patched(tree)) == ["Run", "uvicorn"]
    assert sorted(hidden(tree)) == ["_message_id", "_runtime_client"]


def test_the_room_says_all_that_it_imports() -> None:
    needed = {(need.module, need.name.split(".")[0]) for needs in PARTS.values() for need in needs}
    imports = {
        pair
        for path, tree in modules()
        if ROOM in path.parents
        for pair in imported(tree)
        if not is_public(*pair)
        and pair not in (("flwr.supercore", "sql_mixin"), ("flwr.supercore.corestate", "sql_corestate"))
    }
    assert imports
    assert imports <= needed


def test_the_installed_flower_is_one_that_we_know() -> None:
    check()
    assert installed().startswith(SUPPORTED), (
        f"flwr {installed()} is installed, and fedasr/flower/ was checked with {', '.join(SUPPORTED)}. It has all"
        " names that are needed, so run: the tests of tests/fedasr/flower, tests/fedasr/test_grid.py,"
        " tests/fedasr/edge, tests/e2e/test_flower_runtime.py, test_flwr_run.py and test_edge.py; and read again"
        " ENVIRONMENT in fedasr/runtime/flower_engine.py and docs/flower.md. Then add the version to SUPPORTED and to"
        " pyproject.toml."
    )


def test_the_bounds_of_the_package_are_the_supported_versions() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    major, _, last = SUPPORTED[-1].partition(".")
    assert f'"flwr>={SUPPORTED[0]},<{major}.{int(last) + 1}"' in text


@pytest.mark.parametrize(
    ("target", "name", "part", "missing"),
    [
        ("flwr.supercore.task_identity", "TaskIdentity", "messages", "flwr.supercore.task_identity.TaskIdentity"),
        ("flwr.supercore.run.Run", "create_empty", "messages", "flwr.supercore.run.Run.create_empty"),
        ("flwr.superlink.grid.http_grid.HttpGrid", "_runtime_client", "arrivals", "HttpGrid._runtime_client"),
        ("flwr.supercore.sql_mixin", "SQLITE_PRAGMAS", "superlink", "flwr.supercore.sql_mixin.SQLITE_PRAGMAS"),
        ("flwr.supernode.runtime.run_clientapp", "push_message", "supernode", "run_clientapp.push_message"),
        ("flwr.simulation", "run_simulation", "simulation", "flwr.simulation.run_simulation"),
    ],
)
def test_a_name_that_is_gone_is_named(
    target: str, name: str, part: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(part)
    monkeypatch.delattr(f"{target}.{name}")
    with pytest.raises(UnsupportedFlower) as caught:
        check(part)
    line = str(caught.value)
    assert line.startswith(f"Flower {installed()} is not supported: ")
    assert f"{missing} is missing; supported are 1.41 and 1.42" in line
    assert "\n" not in line


def test_other_arguments_fields_and_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flwr.supernode.runtime.run_clientapp.pull_task_input", lambda: None)
    with pytest.raises(UnsupportedFlower, match=r"pull_task_input\(client\) is missing: it takes other arguments"):
        check("supernode")
    monkeypatch.setattr("flwr.common.constant.ErrorCode.NODE_UNAVAILABLE", 6)
    with pytest.raises(UnsupportedFlower, match=r"ErrorCode.NODE_UNAVAILABLE is 6 and not 5; supported are"):
        check("messages")


def test_an_import_that_fails_gives_the_same_line() -> None:
    for statement, missing in (
        ("from flwr.supercore.run import Walk", r"flwr\.supercore\.run\.Walk"),
        ("import flwr.supercore.walks", r"flwr\.supercore\.walks"),
    ):
        with pytest.raises(UnsupportedFlower, match=rf"{missing} is missing; supported are"), supported():
            exec(statement)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"), supported():
        exec("import no_such_thing")


def test_a_run_ends_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("flwr.simulation.run_simulation")
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as ended:
        main(["run", "quickstart", "runtime.name=flower", "--out", str(out)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "flwr.simulation.run_simulation is missing" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "gone"),
    [
        (["run-server", "--home", "home"], "flwr.supercore.sql_mixin.SQLITE_PRAGMAS"),
        (["run-client", "--data", "anna"], "flwr.supernode.runtime.run_clientapp.push_message"),
    ],
)
def test_nodes_of_a_deployment_end_before_they_begin(
    command: list[str],
    gone: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as made:
        main(["edge", "init-server", "--host", "127.0.0.1", "--home", "home"])
    assert made.value.code == 0
    monkeypatch.delattr(gone)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["edge", *command])
    line = capsys.readouterr().err
    assert (ended.value.code, line.count("\n")) == (2, 1), line
    assert f"{gone} is missing" in line


@pytest.mark.slow
def test_the_check_imports_neither_torch_nor_ray() -> None:
    code = "import sys, fedasr.flower as f; f.check(); sys.exit(len({'torch', 'ray'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
