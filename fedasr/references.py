"""Load a user's own part by its reference, ``"package.module:attribute"``."""

from __future__ import annotations

import importlib
import traceback
from typing import Any

from fedasr.errors import InputError


def load_reference(reference: str, key: str = "reference") -> Any:
    """Return the object that ``"package.module:attribute"`` names.

    Args:
        reference: the object's name.
        key: the config key that names it, for messages.

    Raises:
        InputError: the module or the attribute does not exist, or the module cannot be imported.
    """
    module_name, _, attribute = reference.partition(":")
    said = f"'{key}' is '{reference}'"
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise InputError(f"{said}; expected 'package.module:attribute'")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"{said}, but there is no module '{error.name}' on the Python path") from None
    except Exception as error:
        raise InputError(f"{said}, but module '{module_name}' cannot be imported: {failure(error)}") from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InputError(f"{said}, but module '{module_name}' has no '{attribute}'")
        found = getattr(found, name)
    return found


def call_reference(reference: str, key: str, signature: str, *arguments: Any) -> Any:
    """Return what the user's function or class ``reference`` makes of the arguments.

    Args:
        reference: the object's name.
        key: the config key that names it, for messages.
        signature: the parameters in words, for messages.
        arguments: of the call.

    Raises:
        InputError: there is no such object, it cannot be called, or it raised; the line names where.
    """
    make = load_reference(reference, key)
    if not callable(make):
        raise InputError(f"'{key}' is '{reference}', which cannot be called; expected a function of {signature}")
    try:
        return make(*arguments)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{key}' is '{reference}', whose call with {signature} failed: {failure(error)}") from error


def failure(error: Exception) -> str:
    """Return an exception in a line, with the place in the source that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
