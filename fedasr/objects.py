"""Parts of a user's own that are given as Python objects, and the references by which a config names them.

A class or function of a module is named by its place, and so is one of a script that can be imported by its name. What
was defined in a notebook, at the prompt or within a function can be found by no other process: it is named
``"__main__:attribute"``, and kept here for as long as this process lasts.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from fedasr.errors import InputError

HERE = "__main__"
"""The module of what lives in this process alone."""

MAIN_ALIAS = "__mp_main__"
"""What ``multiprocessing`` calls the script, too."""
PICKLERS = ("cloudpickle", "ray.cloudpickle")
"""Modules that can pickle classes by their code; Ray has one of its own."""

_held: dict[tuple[str, str], Any] = {}
"""(config key, reference) → the object that was given."""


def reference_of(part: Any, name: str, key: str, instances: bool = False) -> str:
    """Return the reference of a part that was given as an object; a text is one already, or the name of a shipped part.

    Args:
        part: a class, a function, or a text.
        name: what the caller calls it, for messages.
        key: the config key that names it.
        instances: whether the part is an instance, such as a Flower ``ClientApp``.

    Raises:
        InputError: it is an instance, whose state no config could record.
    """
    if isinstance(part, str):
        return part
    bound = inspect.ismethod(part) and not inspect.isclass(part.__self__)
    if instances and not callable_by_name(part):
        reference = place_of_instance(part, name)
    elif callable_by_name(part) and not bound:
        reference = place_of(part)
    else:
        raise InputError(
            f"'{name}' is an instance of {type(part).__name__}, which a config cannot record; give its class or a"
            f" function, and what it is called with as options, for example overrides={{'{options_of(key)}': {{…}}}}",
            where="",
        )
    _held[key, reference] = part
    return reference


def callable_by_name(part: Any) -> bool:
    """Say whether an object is a class or a function."""
    return inspect.isclass(part) or inspect.isroutine(part)


def options_of(key: str) -> str:
    """Return the key of a part's options: ``model.options`` of ``model.name``, otherwise ``…_options``."""
    return f"{key.removesuffix('name')}options" if key.endswith(".name") else f"{key}_options"


def place_of(part: Any) -> str:
    """Return the reference of a class or function."""
    module, attribute = str(getattr(part, "__module__", "")), str(part.__qualname__)
    loaded = sys.modules.get(module)
    if loaded is None or attribute_of(loaded, attribute) is not part:
        return f"{HERE}:{attribute}"
    return f"{script_name() or HERE if module == HERE else module}:{attribute}"


def place_of_instance(part: Any, name: str) -> str:
    """Return the reference of an instance that is the value of a variable of a module, one of its own before others."""
    places = [
        (module, attribute)
        for module, loaded in list(sys.modules.items())
        for attribute, value in list(getattr(loaded, "__dict__", {}).items())
        if value is part and attribute.isidentifier() and module != MAIN_ALIAS
    ]
    module, attribute = min(places, key=lambda place: place[0] == HERE, default=(HERE, name))
    return f"{script_name() or HERE if module == HERE else module}:{attribute}"


def attribute_of(module: ModuleType, attribute: str) -> Any:
    """Return what a dotted name means in a module, None where there is no such thing."""
    part: Any = module
    for name in attribute.split("."):
        part = getattr(part, name, None)
    return part


def script_name() -> str | None:
    """Return the name by which other processes can import the script that runs; None: there is none."""
    main = sys.modules[HERE]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:  # python -m package.module
        return str(spec.name)
    if file is None or not Path(file).is_file() or not Path(file).stem.isidentifier():
        return None
    name = Path(file).stem
    try:
        module_spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    same = (
        module_spec is not None
        and module_spec.origin is not None
        and Path(module_spec.origin).resolve() == Path(file).resolve()
    )
    return name if same else None


def held(key: str, reference: str) -> Any:
    """Return the object that was given for a key under this reference, None where none was."""
    return _held.get((key, reference))


def lives_here_alone(reference: str) -> bool:
    """Say whether no other process finds what the reference names."""
    return reference.partition(":")[0] == HERE


def ended(reference: str, key: str) -> InputError:
    """Return what to raise where a part lived in another process alone."""
    return InputError(
        f"'{key}' is '{reference}', which was defined in a notebook, at the prompt or within a function, and is known"
        " to that process alone; define it in a module (a .py file), and start a run with that"
    )


def packed(parts: Iterable[tuple[str, str]]) -> bytes | None:
    """Return the objects of (key, reference) pairs that live in this process alone, for its workers; None: none do.

    Raises:
        InputError: they cannot be sent to a worker.
    """
    objects = {pair: _held[pair] for pair in parts if lives_here_alone(pair[1]) and pair in _held}
    if not objects:
        return None
    names = ", ".join(f"'{key}'" for key, _ in objects)
    advice = "define the part in a module (a .py file), or set runtime.executor=serial"
    pickler = next(filter(None, map(imported, PICKLERS)), None)
    if pickler is None:
        raise InputError(f"{names} must be sent to the workers, which needs cloudpickle; install it, or {advice}")
    try:
        content: bytes = pickler.dumps(objects)
    except Exception as error:
        message = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{names} cannot be sent to the workers ({type(error).__name__}: {message}); {advice}"
        ) from None
    return content


def imported(name: str) -> Any:
    """Return a module, None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def unpack(content: bytes | None) -> None:
    """Take in what ``packed`` has made, in a worker."""
    if content is not None:
        import pickle

        _held.update(pickle.loads(content))
