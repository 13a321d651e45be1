"""What a caller may ask of a decoder."""

from __future__ import annotations

from collections.abc import Sequence

from fedasr.errors import InputError, nearest
from fedasr.models.tokenizer import Tokenizer, UnknownCharacters

DECODERS = ("greedy", "beam", "vocabulary")


def check_decoder(decoder: str) -> None:
    """Raise on an unknown decoder.

    Raises:
        InputError: naming the nearest one.
    """
    if decoder not in DECODERS:
        raise InputError(f"decoder '{decoder}'{nearest(decoder, DECODERS)}; expected one of: {', '.join(DECODERS)}")


def encoded(vocabulary: Sequence[str], tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Return the tokens of each distinct phrase, in the order of their first mention.

    Raises:
        InputError: no phrases, or one with characters outside the tokenizer.
    """
    phrases: dict[str, list[int]] = {}
    for phrase in vocabulary:
        try:
            phrases[tokenizer.normalise(phrase)] = tokenizer.encode(phrase)
        except UnknownCharacters as error:
            raise InputError(f"vocabulary of the decoder: {error}") from None
    if not phrases:
        raise InputError("decoder 'vocabulary' has no phrases; list them in 'evaluate.vocabulary'")
    return phrases
