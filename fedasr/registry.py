"""Make a part, shipped or a user's own, from its name or reference, with options that its signature is asked about.

A part of one's own is a class or function, named ``"package.module:attribute"``. It gets what FedASR knows, such as
``vocabulary_size``, by the names of its parameters, and the config's ``options`` for the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fedasr.errors import InputError, nearest
from fedasr.references import failure, load_reference

KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def is_reference(name: str) -> bool:
    """Say whether a config value names a part by reference."""
    return ":" in name


def make_part(
    reference: str,
    key: str,
    known: Mapping[str, Any],
    options: Mapping[str, Any],
    options_key: str,
    leading: Sequence[Any] = (),
) -> Any:
    """Return what the part named by ``reference`` makes.

    Args:
        reference: ``"package.module:attribute"`` of a class or function.
        key: the config key that names it, for messages.
        known: what FedASR can tell a part, by parameter name; it gets those that it has parameters for.
        options: the user's, for its other parameters.
        options_key: the config key of the options, for messages.
        leading: what the first parameters get by position where they have no default and other names.

    Raises:
        InputError: there is no such object, it cannot be called with these options, or it raised.
    """
    make = load_callable(reference, key)
    positional, named = arguments(make, reference, key, known, options, options_key, leading)
    try:
        return make(*positional, **named)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{key}' is '{reference}', which failed: {failure(error)}") from error


def load_callable(reference: str, key: str) -> Callable[..., Any]:
    """Return the class or function that a reference names.

    Raises:
        InputError: there is none.
    """
    make = load_reference(reference, key)
    if not callable(make):
        raise InputError(f"'{key}' is '{reference}', which cannot be called; expected a class or a function")
    part: Callable[..., Any] = make
    return part


def arguments(
    make: Callable[..., Any],
    reference: str,
    key: str,
    known: Mapping[str, Any],
    options: Mapping[str, Any],
    options_key: str,
    leading: Sequence[Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments of the call; see ``make_part``.

    Raises:
        InputError: an option that the part does not take, or that FedASR gives; or a parameter that nothing gives.
    """
    try:
        parameters = dict(inspect.signature(make).parameters)
    except ValueError:  # of what is built into Python
        raise InputError(
            f"'{key}' is '{reference}', whose parameters cannot be read; name a part of your own"
        ) from None
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    positional: list[Any] = []
    first = [name for name, parameter in parameters.items() if is_required(parameter)][: len(leading)]
    if len(first) == len(leading) and any(name not in known and name not in options for name in first):
        positional = list(leading)
        parameters = {name: parameter for name, parameter in parameters.items() if name not in first}
    names = [name for name, parameter in parameters.items() if parameter.kind in KEYWORD]
    free = [name for name in names if name not in known]
    for option in options:
        if option in known and option in names:
            raise InputError(f"'{options_key}.{option}' is given by FedASR; leave it out")
        if option not in names and not takes_any:
            takes = ", ".join(free) or "no options"
            raise InputError(
                f"unknown option '{options_key}.{option}'{nearest(option, free)}; '{reference}' takes: {takes}"
            )
    for name in free:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise InputError(f"'{key}' is '{reference}', which needs '{name}'; set '{options_key}.{name}'")
    return positional, {**{name: known[name] for name in names if name in known}, **options}


def is_required(parameter: inspect.Parameter) -> bool:
    """Say whether a call must give the parameter, and may give it by its position."""
    by_position = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return parameter.kind in by_position and parameter.default is inspect.Parameter.empty
