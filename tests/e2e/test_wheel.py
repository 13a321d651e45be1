"""The wheel holds what a checkout has, runs from an empty folder, and is not hidden by a user's own names."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import fedasr

from .tiny import ROOMS, ROOT, copy_checkout, environment, tiny

TRAPS = ("strategies", "clients", "simulations", "data", "tests", "config", "runtime", "models", "privacy")
"""Names of folders that people have beside their scripts."""
SELECTOR = """
from fedasr.strategies.selection import Selection, Stateless

class First(Stateless):
    def __init__(self, config):
        self.k = config.clients_per_round

    def select(self, round, roster, k, rng):
        chosen = roster.selectable[:k]
        return Selection(chosen, 0.0 * chosen + float("nan"))
"""
CORPUS = """
from dataclasses import replace
from fedasr.data.sources import open_corpus

def words(config, seed):
    return open_corpus(replace(config, corpus="synthetic"), seed)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout is installed, without its dependencies."""
    source, wheels, site = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "site"))
    copy_checkout(source)
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    return site


@pytest.fixture
def there(site: Path, tmp_path: Path) -> Path:
    """A user's folder with packages of unlucky names, each of which ends whoever imports it."""
    folder = tmp_path / "there"
    for name in TRAPS:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")
    OmegaConf.save(tiny(rounds=1), folder / "tiny.yaml")
    return folder


def run(site: Path, folder: Path, *arguments: str, status: int = 0) -> str:
    """Run Python in a folder with the wheel installed; return its standard output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment(), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def tracked() -> set[str]:
    """Return the files of the rooms, as an installation has them."""
    result = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(ROOT).as_posix()
                result.add(inside if room == "fedasr" else f"fedasr/{inside}")
    return result


def test_it_holds_what_a_checkout_has_and_no_other_top_level_name(site: Path) -> None:
    installed = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert tracked() == {name for name in installed if ".dist-info/" not in name}
    assert (site / "fedasr" / "py.typed").is_file()
    (top,) = site.glob("*.dist-info/top_level.txt")
    assert top.read_text().split() == ["fedasr"]


@pytest.mark.slow
def test_a_private_run_among_a_users_folders_has_the_bits_of_a_checkouts(
    site: Path, there: Path, tmp_path: Path
) -> None:
    changes = {"privacy.unit": "example", "privacy.noise_multiplier": 1.0, "privacy.participations": 1}
    changes |= {"strategy.name": "fedavg", "selection.name": "uniform"}
    ours = fedasr.run(there / "tiny.yaml", out=tmp_path / "ours", overrides=changes)
    arguments = [f"{key}={value}" for key, value in changes.items()]
    command = ["-P", "-c", ENTRY, "run", "tiny.yaml", *arguments, "--json", "--out", str(tmp_path / "theirs")]
    theirs = json.loads(run(site, there, *command))
    assert theirs["status"] == "done"
    assert theirs["model_sha256"] == ours.summary["model_sha256"]


ENTRY = "from fedasr.cli.main import main; main()"
"""What the installed command does; -P leaves the working folder out of the path, as it does."""


def test_a_sweep_that_is_shipped_and_the_version(site: Path, there: Path) -> None:
    planned, version = run(site, there, "-P", "-c", SWEEP).splitlines()
    assert int(planned) > 1
    assert version == f"fedasr {fedasr.__version__}"


SWEEP = """
from importlib.resources import files
from pathlib import Path
from fedasr.cli.main import main
from fedasr.sweeps import read_plan
shipped = Path(str(files("fedasr.simulations")))
print(len(read_plan(shipped / "sweeps" / "selection_static.yaml").runs))
main(["--version"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "device"), [("mine", "cpu"), ("strategies", "auto")], ids=["forked", "spawned"])
def test_a_users_own_part(site: Path, tmp_path: Path, name: str, device: str) -> None:
    """In the working folder from the command line, and beside the script; workers load it too."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / f"{name}.py").write_text(SELECTOR + CORPUS)
    OmegaConf.save(tiny(rounds=1), folder / "tiny.yaml")
    changes = {
        "selection.name": f"{name}:First",
        "data.corpus": f"{name}:words",
        "runtime.executor": "pool",
        "runtime.workers": 1,
        "runtime.device": device,
    }
    if name == "mine":
        command = ["-P", "-m", "fedasr", "run", str(folder / "tiny.yaml"), "--quiet", "--out", str(tmp_path / "out")]
        run(site, tmp_path, *command, *(f"{key}={value}" for key, value in changes.items()))
    else:
        script = folder / "script.py"
        script.write_text(SCRIPT.format(changes=changes))
        run(site, tmp_path, str(script), str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "done"


SCRIPT = """
import sys
from pathlib import Path
import fedasr

if __name__ == "__main__":
    fedasr.run(Path(__file__).with_name("tiny.yaml"), out=sys.argv[1], overrides={changes})
"""


def test_flower_packs_all_that_the_app_needs(tmp_path: Path) -> None:
    """Flower takes no file but those of a few kinds; what a run reads must be one of them."""
    source = tmp_path / "app"
    source.mkdir()
    copy_checkout(source)
    flwr = [sys.executable, "-c", "from flwr.cli.app import app; app()", "build"]
    done = subprocess.run(
        flwr,
        cwd=source,
        env={**environment(), "FLWR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle,) = source.glob("*.fab")
    with zipfile.ZipFile(bundle) as file:
        held = set(file.namelist())
    assert {"strategies/server_app.py", "clients/client_app.py", "simulations/quickstart.yaml"} <= held
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if path.name != "setup.py"}
    assert modules <= held
    kinds = {path.suffix for room in ROOMS for path in (source / room).rglob("*.*")}
    assert kinds <= {".py", ".pyc", ".yaml", ".ipynb", ".typed"}
