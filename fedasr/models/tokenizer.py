"""Characters as tokens: Unicode-normalised, with the CTC blank as token 0."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fedasr.errors import InputError, nearest
from fedasr.files import write_text

BLANK = 0
"""The token of the CTC blank; it stands for no character."""

LATIN = "abcdefghijklmnopqrstuvwxyz' "
ARABIC = "".join(chr(c) for c in (*range(0x0621, 0x063B), *range(0x0641, 0x064B))) + " "

OPTIONAL_MARKS = frozenset({"\u0640", "\u0670", *map(chr, range(0x064B, 0x0653))})
"""Arabic tatweel, superscript alef and the short vowels (tanwin, harakat, shadda, sukun): usually left unwritten."""

FORMAT = "fedasr-characters"


class UnknownCharacters(InputError):
    """A text has characters that the tokenizer does not know; ``characters`` holds them."""

    def __init__(self, characters: Iterable[str], text: str) -> None:
        self.characters = frozenset(characters)
        self.text = text
        named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in sorted(self.characters))
        super().__init__(f"characters outside the tokenizer in {text!r}: {named}; correct the text or add them")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.characters, self.text)


def canonical(text: str) -> str:
    """Return the text in Unicode form NFC, with white space collapsed to single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


class Tokenizer:
    """Text to tokens and back; token 0 is the CTC blank, then come the characters in the given order.

    Every text is normalised first: lower case where asked for, Unicode form NFC, white space collapsed, and the Arabic
    marks that writing leaves out at will (tatweel, harakat, superscript alef) dropped unless they are characters here.

    Args:
        characters: single code points, each once, already normalised.
        lowercase: lower-case texts before they are encoded.

    Raises:
        InputError: no characters, a repeated one, or one that no normalised text can hold.
    """

    def __init__(self, characters: Sequence[str], lowercase: bool = True) -> None:
        self.characters = tuple(characters)
        self.lowercase = lowercase
        if not self.characters:
            raise InputError("the tokenizer has no characters; expected at least one")
        self._tokens = {character: token for token, character in enumerate(self.characters, start=1)}
        if len(self._tokens) < len(self.characters):
            twice = sorted({c for c in self.characters if self.characters.count(c) > 1})
            raise InputError(f"the tokenizer has characters more than once: {' '.join(map(repr, twice))}")
        self._dropped = {ord(mark): None for mark in OPTIONAL_MARKS - self._tokens.keys()}
        for character in self.characters:
            self._check(character)

    def _check(self, character: str) -> None:
        """Raise where no normalised text holds the character."""
        if len(character) != 1:
            raise InputError(f"the tokenizer has {character!r}; expected single characters")
        if character == " ":
            return
        normalised = self.normalise(character)
        if normalised != character:
            cased = self.lowercase and character.lower() != character
            advice = "give it in lower case, or set lowercase to false" if cased else "leave it out"
            raise InputError(f"the tokenizer has {character!r}, which no normalised text holds; {advice}")

    @property
    def size(self) -> int:
        """Return the number of tokens, the blank included."""
        return len(self.characters) + 1

    def normalise(self, text: str) -> str:
        """Return the text as it is encoded; references are compared in this form."""
        # Twice NFC: a dropped mark may have stood between a letter and an accent that now combine.
        text = unicodedata.normalize("NFC", text.lower() if self.lowercase else text)
        return canonical(text.translate(self._dropped))

    def unknown(self, text: str) -> set[str]:
        """Return the characters of the normalised text that have no token."""
        return set(self.normalise(text)) - self._tokens.keys()

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text; never the blank.

        Raises:
            UnknownCharacters: the text has characters that have no token.
        """
        normalised = self.normalise(text)
        try:
            return [self._tokens[character] for character in normalised]
        except KeyError:
            raise UnknownCharacters(set(normalised) - self._tokens.keys(), text) from None

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, blanks left out, white space collapsed.

        Raises:
            ValueError: a token is negative or not below ``size``.
        """
        letters = []
        for token in tokens:
            if not 0 <= token < self.size:
                raise ValueError(f"token {token} is outside the tokenizer; expected 0 to {self.size - 1}")
            if token != BLANK:
                letters.append(self.characters[token - 1])
        return canonical("".join(letters))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_dict`` reads."""
        return {"format": FORMAT, "version": 1, "characters": list(self.characters), "lowercase": self.lowercase}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Tokenizer:
        """Return the tokenizer of ``to_dict``.

        Raises:
            InputError: the content is not that of a tokenizer.
        """
        if content.get("format") != FORMAT or content.get("version") != 1:
            raise InputError(f'is not a tokenizer; expected "format": "{FORMAT}", "version": 1')
        characters, lowercase = content.get("characters"), content.get("lowercase")
        if not isinstance(characters, list) or not all(isinstance(c, str) for c in characters):
            raise InputError("'characters' must be a list of single characters")
        if not isinstance(lowercase, bool):
            raise InputError("'lowercase' must be true or false")
        return cls(cast(list[str], characters), lowercase)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON; a reader sees the old file or the new one, never half of it."""
        write_text(Path(path), json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Return the tokenizer that ``save`` wrote.

        Raises:
            InputError: the file cannot be read or is not a tokenizer.
        """
        content = read_content(path)
        try:
            return cls.from_dict(content)
        except InputError as error:
            raise InputError(str(error), where=str(path)) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.characters, self.lowercase))

    def __repr__(self) -> str:
        return f"Tokenizer({''.join(self.characters)!r}, lowercase={self.lowercase})"


def read_content(path: str | Path) -> dict[str, Any]:
    """Return the JSON object in the file of a tokenizer.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text (byte {error.start})", where=str(path)) from None
    if not isinstance(content, dict):
        raise InputError("is not a tokenizer; expected a JSON object", where=str(path))
    return content


def build_tokenizer(alphabet: str, lowercase: bool = True, texts: Iterable[str] = ()) -> Tokenizer:
    """Return the tokenizer of an alphabet.

    Args:
        alphabet: ``latin`` (a-z, apostrophe, space; A-Z too where ``lowercase`` is false), ``arabic`` (the letters and
            space), ``auto`` (the characters of ``texts``, sorted), or the characters themselves after ``chars:``.
        lowercase: lower-case texts before they are encoded.
        texts: what ``auto`` collects from.

    Raises:
        InputError: an unknown alphabet, or one without characters.
    """
    if alphabet == "latin":
        return Tokenizer(LATIN if lowercase else LATIN[:26].upper() + LATIN, lowercase)
    if alphabet == "arabic":
        return Tokenizer(ARABIC, lowercase)
    if alphabet == "auto":
        # The stand-in only normalises: its own character does not matter.
        normalise = Tokenizer(" ", lowercase).normalise
        collected = sorted(set().union(*(normalise(text) for text in texts)))
        if not collected:
            raise InputError("'model.alphabet' is 'auto', but the transcripts have no characters; give an alphabet")
        return Tokenizer(collected, lowercase)
    if alphabet.startswith("chars:"):
        characters = unicodedata.normalize("NFC", alphabet.removeprefix("chars:"))
        try:
            return Tokenizer(characters, lowercase)
        except InputError as error:
            raise InputError(f"'model.alphabet': {error}") from None
    guess = nearest(alphabet, ("latin", "arabic", "auto"))
    raise InputError(
        f"'model.alphabet' is '{alphabet}'{guess}; expected latin, arabic, auto, or the characters after 'chars:'"
    )
