"""A tokenizer of a user's own, and tokenizers from files, whosever they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fedasr.config.schema import ModelConfig
from fedasr.errors import InputError
from fedasr.models.tokenizer import BLANK, Tokenizer, build_tokenizer, canonical, read_content
from fedasr.references import failure, load_reference
from fedasr.registry import is_reference, make_part

FORMAT = "fedasr-own-tokenizer"
KEY, OPTIONS = "model.tokenizer", "model.tokenizer_options"


class TokenizerLike(Protocol):
    """What a tokenizer of a user's own must have.

    It may have ``normalise(text)``, which both sides of an error rate go through, and ``unknown(text)``, the characters
    that ``encode`` does not take. With ``to_dict()`` and a class method ``from_dict(content)`` it is restored from what
    it wrote into ``tokenizer.json``; otherwise it is made anew from ``model.tokenizer_options``.
    """

    size: int
    """tokens, the blank of CTC included, which is token 0"""

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, each from 1 to ``size`` − 1.

        ``ValueError`` or ``KeyError`` where it has none.
        """
        ...

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens, none of which is 0."""
        ...


class OwnTokenizer(Tokenizer):
    """A user's own tokenizer behind the interface of FedASR's.

    Args:
        made: what the reference has made.
        reference: of its class.
        options: that it was made with.

    Raises:
        InputError: it lacks something, or has no tokens.
    """

    def __init__(self, made: Any, reference: str, options: Mapping[str, Any]) -> None:
        self.made: TokenizerLike = made
        self.reference = reference
        self.options = dict(options)
        self.characters = ()
        self.lowercase = False
        for name in ("size", "encode", "decode"):
            if not hasattr(made, name):
                raise InputError(f"'{KEY}' is '{reference}', which makes no tokenizer: it has no '{name}'")
        if isinstance(made.size, bool) or not isinstance(made.size, int) or made.size < 2:
            raise InputError(
                f"'{KEY}' is '{reference}', whose 'size' is {made.size!r}; expected a whole number of tokens, the blank"
                " included, of at least 2"
            )

    @property
    def size(self) -> int:
        """Return the number of tokens, the blank included."""
        return self.made.size

    def normalise(self, text: str) -> str:
        """Return the text as it is encoded; references are compared in this form."""
        own = getattr(self.made, "normalise", canonical)
        return str(own(text))

    def unknown(self, text: str) -> set[str]:
        """Return the characters of the text that have no token, as far as the tokenizer tells."""
        own = getattr(self.made, "unknown", None)
        return set() if own is None else set(own(text))

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; never the blank.

        Raises:
            InputError: the tokenizer does not take the text, or gives no such tokens.
        """
        try:
            tokens = [int(token) for token in self.made.encode(text)]
        except (ValueError, KeyError) as error:
            raise InputError(
                f"'{KEY}' is '{self.reference}', which does not encode {text!r}: {failure(error)}"
            ) from None
        if any(not BLANK < token < self.size for token in tokens):
            raise InputError(
                f"'{KEY}' is '{self.reference}', which encodes {text!r} as {tokens}; expected tokens from 1 to"
                f" {self.size - 1}"
            )
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, blanks left out, white space collapsed.

        Raises:
            ValueError: a token is negative or not below ``size``.
        """
        listed = list(tokens)
        for token in listed:
            if not 0 <= token < self.size:
                raise ValueError(f"token {token} is outside the tokenizer; expected 0 to {self.size - 1}")
        return canonical(str(self.made.decode([token for token in listed if token != BLANK])))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``restored`` reads."""
        content = {"format": FORMAT, "version": 1, "reference": self.reference, "options": self.options}
        own = getattr(self.made, "to_dict", None)
        return content if own is None else {**content, "content": own()}

    def __hash__(self) -> int:
        return hash((self.reference, self.size))

    def __repr__(self) -> str:
        return f"OwnTokenizer({self.reference!r}, {self.options!r})"


def make_tokenizer(config: ModelConfig, texts: Iterable[str] = ()) -> Tokenizer:
    """Return the tokenizer of section ``model``: the characters of its alphabet, or a user's own.

    Args:
        config: the section.
        texts: what alphabet ``auto`` collects from.

    Raises:
        InputError: there is no such alphabet, or the reference makes no tokenizer.
    """
    if not is_reference(config.tokenizer):
        return build_tokenizer(config.alphabet, config.lowercase, texts)
    made = make_part(config.tokenizer, KEY, {"config": config}, config.tokenizer_options, OPTIONS)
    return OwnTokenizer(made, config.tokenizer, config.tokenizer_options)


def load_tokenizer(path: str | Path, config: ModelConfig) -> Tokenizer:
    """Return the tokenizer that a run has written.

    Args:
        path: of the file.
        config: section ``model`` of the run: code is loaded as it says, never as the file does.

    Raises:
        InputError: the file cannot be read, or its tokenizer is not that of the config.
    """
    content = read_content(path)
    reference = str(content.get("reference", ""))
    if content.get("format") != FORMAT and not is_reference(config.tokenizer):
        return Tokenizer.load(path)
    options = content.get("options")
    if content.get("format") != FORMAT or reference != config.tokenizer or options != config.tokenizer_options:
        there = f"'{reference}' with the options {options}" if reference else "one of characters"
        raise InputError(
            f"has another tokenizer, {there}, than '{KEY}', '{config.tokenizer}', and '{OPTIONS}',"
            f" {config.tokenizer_options}; set them alike",
            where=str(path),
        )
    restore = getattr(load_reference(reference, KEY), "from_dict", None)
    if restore is None or "content" not in content:
        return make_tokenizer(config)
    try:
        return OwnTokenizer(restore(content["content"]), reference, config.tokenizer_options)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"'{reference}' does not restore what it wrote: {failure(error)}", where=str(path)) from error
