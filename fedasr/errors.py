"""The two exceptions that the command line turns into one line: wrong input, and a run that failed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A config, manifest, argument or checkpoint is wrong.

    The message is one line that names the place (file and key or line), what was expected and what to do.
    The command line prints it and exits with status 2.

    Args:
        message: what is wrong.
        where: the place, put before the message. None: nobody has named it yet, and whoever knows the config may
            (``about``); empty: the message names the place itself.
    """

    def __init__(self, message: str, *, where: str | None = None) -> None:
        self.where = where
        super().__init__(one_line(f"{where}: " if where else "", " ".join(str(message).split())))


class RunFailed(RuntimeError):
    """A run cannot go on, though its input was right: too many clients failed.

    The message is one line; the command line prints it and exits with status 1.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(*parts: str) -> str:
    """Return the parts joined, with everything that would break or hide a line made visible."""
    text = "".join(parts)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the valid name closest to ``word``, or an empty string."""
    match = get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
