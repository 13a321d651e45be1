"""The parts of a user's own that a config names, and where a run folder says that their modules lie."""

from __future__ import annotations

import importlib.util
import json
import site
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from fedasr.config.loading import get
from fedasr.config.schema import Config, walk
from fedasr.files import write_json
from fedasr.objects import lives_here_alone
from fedasr.paths import is_file, is_folder
from fedasr.references import look_beside, look_first
from fedasr.registry import is_reference

FILE = "parts.json"
"""File of the run folder: reference → the folder in which its module lies; none of what is installed."""


def own_parts(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (key, reference) of every part of a user's own in a config."""
    for name, item in walk():
        value = get(config, name)
        if item.metadata["reference"] and value is not None and is_reference(value):
            yield name, value


def note_places(folder: Path, config: Config) -> None:
    """Write into a run folder where the modules of its parts lie, for whoever evaluates or resumes it elsewhere."""
    places = {reference: str(place) for _, reference in own_parts(config) if (place := place_of(reference)) is not None}
    if places:
        write_json(folder / FILE, places)


def look_for_parts(folder: Path, resumed: bool = False) -> None:
    """Let the modules of a run's parts be found: where they lay when it ran, in its folder and in the working folder.

    Args:
        folder: of the run.
        resumed: whether the modules are also looked for beside the config that the user has named.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        noted = [Path(str(place)) for place in dict(content).values()]
    except (OSError, ValueError, TypeError):
        noted = []
    noted = [place for place in dict.fromkeys(noted) if place.is_absolute() and is_folder(place)]
    if resumed:
        look_first(noted)
    else:
        look_beside(folder / "config.yaml", first=noted)


def place_of(reference: str) -> Path | None:
    """Return the folder from which a reference's module is imported; None: it is installed, or nowhere."""
    name = reference.partition(":")[0]
    if lives_here_alone(reference):
        return None
    file = module_file(name)
    if file is None or is_installed(file):
        return None
    return file.parents[name.count(".") + (file.stem == "__init__")]


def module_file(name: str) -> Path | None:
    """Return the file that a module is imported from; None: there is none. Packages above it are imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not is_file(Path(spec.origin)):
        return None
    return Path(spec.origin).resolve()


def is_installed(file: Path) -> bool:
    """Say whether a file of code lies where packages are installed."""
    folders = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return any(file.is_relative_to(Path(folder).resolve()) for folder in folders)
