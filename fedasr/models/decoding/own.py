"""A decoder of a user's own."""

from __future__ import annotations

from fedasr.config.schema import EvaluateConfig
from fedasr.errors import InputError
from fedasr.models.base import Decoder
from fedasr.models.tokenizer import Tokenizer
from fedasr.registry import is_reference, make_part

KEY, OPTIONS = "evaluate.decoder", "evaluate.decoder_options"


def make_decoder(config: EvaluateConfig, tokenizer: Tokenizer) -> str | Decoder:
    """Return the decoder of section ``evaluate``: the name of a shipped one, or a user's own.

    Args:
        config: the section.
        tokenizer: of the model.

    Raises:
        InputError: the reference makes no decoder, or the options do not fit.
    """
    if not is_reference(config.decoder):
        return config.decoder
    known = {"config": config, "tokenizer": tokenizer, "vocabulary": list(config.vocabulary), "beam": config.beam}
    made = make_part(config.decoder, KEY, known, config.decoder_options, OPTIONS)
    if not callable(getattr(made, "decode", None)):
        raise InputError(f"'{KEY}' is '{config.decoder}', which makes no decoder: it has no 'decode'")
    decoder: Decoder = made
    return decoder
