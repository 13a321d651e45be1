"""Keys of section ``compression``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fedasr.config.schema.conditions import unless
from fedasr.config.schema.keys import key


@dataclass
class CompressionConfig:
    """Fewer bytes; see `docs/compression.md`."""

    up: str = key(
        "none",
        "how a client encodes its update: none; fp16; int8 or int4: stochastic rounding; eden: one bit after a random"
        " rotation; sign; top-k; random-k; threshold: entries beyond ±τ; `bytes_up` is what is sent",
        choices=("none", "fp16", "int8", "int4", "eden", "sign", "top-k", "random-k", "threshold"),
        reference=True,
    )
    up_options: dict[str, Any] = key(
        dict,
        "of the codec, by parameter name: `block` (int8, int4, eden, sign), `density` (top-k, random-k), `tau`"
        " (threshold), `unbiased` (random-k), `coding`: zstd or none (int8, int4), rice or none (top-k, threshold)",
        when=unless(".up", "none", refused=True),
    )
    error_feedback: bool | None = key(
        None,
        "whether a client keeps what it has not sent and adds it to its next update; absent: where the codec needs it"
        " (sign, top-k, threshold)",
        when=unless(".up", "none", refused=True),
    )
    decay: float = key(
        0.9,
        "what is left of it for each round that passes without the client: the weights have moved on",
        low=0,
        high=1,
        when=unless(".up", "none", refused=True),
    )
    down: str = key(
        "none",
        "how the server encodes the global model, as the difference from what the devices hold: none, or a codec as of"
        " `up`; who holds too old a model is sent the whole; `bytes_down` is what is sent",
        choices=("none", "fp16", "int8", "int4", "eden", "sign", "top-k", "random-k", "threshold"),
        reference=True,
    )
    down_options: dict[str, Any] = key(
        dict,
        "of that codec, as `up_options`; `random-k` needs `unbiased: false`",
        when=unless(".down", "none", refused=True),
    )
