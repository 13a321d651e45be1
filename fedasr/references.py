"""Load a user's own part by its reference, ``"package.module:attribute"``.

Its module is looked for on the Python path, which begins with the folder of the script, then beside the config, then
in the working folder. The last two are at the end of the path, so that nothing there hides what is installed.
"""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from fedasr.errors import InputError
from fedasr.objects import ended, held, lives_here_alone
from fedasr.paths import is_file

_beside: list[Path] = []
"""The folders of the configs in use, and the working folder."""
_added: set[str] = set()
"""What was put on the Python path for the configs of this process so far."""
_imports = threading.local()
"""``names``: the modules that a thread is importing for their parts."""


def look_beside(*sources: object, first: Iterable[Path] = ()) -> None:
    """Let modules be found beside the configs that a user has named, and in the working folder; no longer elsewhere.

    Args:
        sources: files; whatever is none (a name in ``simulations/``, a mapping) has no folder.
        first: folders that come before.
    """
    files = [Path(source) for source in sources if isinstance(source, (str, Path)) and is_file(Path(source))]
    look_in([*first, *(file.resolve().parent for file in files), Path.cwd()])


def look_first(folders: Iterable[Path]) -> None:
    """Let modules be found in these folders too, before those of ``look_beside``."""
    look_in([*folders, *_beside])


def look_in(folders: Iterable[Path]) -> None:
    """Let modules be found in these folders, after the Python path, and no longer in others."""
    _beside[:] = dict.fromkeys(folders)
    sys.path[:] = [entry for entry in sys.path if entry not in _added]
    new = [str(folder) for folder in _beside if str(folder) not in sys.path]
    sys.path += new
    _added.update(new)


def check_found(problem: str, name: str, module: ModuleType, attribute: str) -> None:
    """Raise where another module than the one beside the config was found, and hides it.

    Raises:
        InputError: it has no such attribute, or it is of a config that this process ran before.
    """
    if name.startswith("fedasr."):
        return
    place = getattr(module, "__file__", None) or "Python itself"
    folder = str(Path(place).resolve().parents[name.count(".") + (Path(place).stem == "__init__")])
    now = [str(entry) for entry in _beside]
    if folder in _added and folder not in now:
        raise InputError(
            f"{problem}, and module '{name}' is loaded from {place}, of another config; use another process"
        )
    own = [file for entry in _beside if (file := module_file(entry, name)) is not None]
    other = own[0] if own and own[0] != Path(place).resolve() else None
    if other is not None and (folder in _added or not hasattr(module, attribute)):
        raise InputError(f"{problem}, and its module in {other} is hidden by {place}; rename it")


def module_file(folder: Path, name: str) -> Path | None:
    """Return the file of a module in a folder, None where there is none."""
    stem = folder.joinpath(*name.split("."))
    files = [file for file in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")) if is_file(file)]
    return files[0] if files else None


def load_reference(reference: str, key: str = "reference") -> Any:
    """Return the object that ``"package.module:attribute"`` names.

    Args:
        reference: the object's name.
        key: the config key that names it, for messages.

    Raises:
        InputError: the module or the attribute does not exist, or the module cannot be imported.
    """
    module_name, _, attribute = reference.partition(":")
    subject = f"'{key}' is '{reference}'"
    given = held(key, reference)
    if given is not None:
        return given
    if lives_here_alone(reference):
        raise ended(reference, key)
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise InputError(f"{subject}; expected 'package.module:attribute'")
    importing = importing_now()
    importing.append(module_name)
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{subject}, but there is no module '{error.name}' on the Python path, beside the config or in the working"
            " folder"
        ) from None
    except Exception as error:
        raise InputError(f"{subject}, but module '{module_name}' cannot be imported: {failure(error)}") from error
    finally:
        importing.pop()
    check_found(subject, module_name, value, attribute.partition(".")[0])
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise InputError(f"{subject}, but module '{module_name}' has no '{attribute}'")
        value = getattr(value, name)
    return value


def importing_now() -> list[str]:
    """Return the names of the modules that this thread is importing for their parts, the innermost last."""
    if not hasattr(_imports, "names"):
        _imports.names = []
    names: list[str] = _imports.names
    return names


def failure(error: Exception) -> str:
    """Return an exception in a line, with the place in the source that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
