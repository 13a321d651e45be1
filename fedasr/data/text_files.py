"""The text of a table that somebody wrote: UTF-8 with or without a byte order mark, in lines of any system."""

from __future__ import annotations

import codecs

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NotText(ValueError):
    """A file is no UTF-8 text; ``line`` is the first line that is none, or 0."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def decoded(content: bytes) -> str:
    """Return the text in a file's bytes, without a byte order mark.

    Raises:
        NotText: it is not UTF-8.
    """
    if content.startswith(UTF_16):
        raise NotText("is UTF-16 text (what Excel calls Unicode text); save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise NotText(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", line) from None


def lines_of(text: str) -> list[str]:
    """Return the lines of a text without their ends.

    ``str.splitlines`` would also end a line at characters that a sentence may hold, such as U+2028 and U+0085.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines
