"""Codecs: an update in few bytes. A codec a file, and the registry that section ``compression`` looks them up in."""

from __future__ import annotations

from typing import Literal

from fedasr.codecs.base import Codec, CodecTraits, Damaged, WrongOption
from fedasr.codecs.feedback import send
from fedasr.config.schema import CompressionConfig
from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.registry import make_part

__all__ = ["CODECS", "Codec", "CodecTraits", "Damaged", "keeps_residual", "make_codec", "send"]

CODECS: dict[str, str] = {
    "fp16": "fedasr.codecs.half:Half",
    "int8": "fedasr.codecs.integers:Int8",
    "int4": "fedasr.codecs.integers:Int4",
    "eden": "fedasr.codecs.eden:Eden",
    "sign": "fedasr.codecs.sign:Sign",
    "top-k": "fedasr.codecs.top_k:TopK",
    "random-k": "fedasr.codecs.random_k:RandomK",
    "threshold": "fedasr.codecs.threshold:Threshold",
}
"""What makes each ``compression.up`` and ``compression.down``."""


def make_codec(config: CompressionConfig, layout: Layout, way: Literal["up", "down"] = "up") -> Codec:
    """Return the codec of ``compression.up`` or ``compression.down``.

    A part of one's own is called with what it has parameters for: ``config``, the section; ``parameters``, how many
    there are; ``layout``, where each tensor lies in the vectors; and the options, such as ``compression.up_options``.

    Args:
        config: section ``compression``.
        layout: of the model.
        way: of clients' updates, or of the server's model.

    Raises:
        InputError: there is no such codec, or the options do not fit.
    """
    known = {"config": config, "parameters": layout.size, "layout": layout}
    name, options = (config.up, config.up_options) if way == "up" else (config.down, config.down_options)
    key = f"compression.{way}"
    try:
        codec: Codec = make_part(CODECS.get(name, name), key, known, options, f"{key}_options")
    except WrongOption as wrong:
        raise InputError(str(wrong).replace(f"'{wrong.option}'", f"'{key}_options.{wrong.option}'", 1)) from None
    lacks = [name for name in ("encode", "decode") if not callable(getattr(codec, name, None))]
    if lacks or not isinstance(getattr(codec, "traits", None), CodecTraits):
        what = f"method '{lacks[0]}'" if lacks else "'traits' of type CodecTraits"
        raise InputError(f"'{key}' is '{name}', which makes no codec: it has no {what}")
    return codec


def keeps_residual(config: CompressionConfig, traits: CodecTraits) -> bool:
    """Say whether clients keep what they have not sent: as the config says, or else where the codec needs it."""
    return traits.feedback == "needed" if config.error_feedback is None else config.error_feedback
