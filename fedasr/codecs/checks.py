"""What a codec may not be combined with, by its traits."""

from __future__ import annotations

from fedasr.codecs import keeps_residual, make_codec
from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.models.weights import Layout

CENTRES = ("median", "trimmed-mean")


def check_compression(config: Config, layout: Layout) -> None:
    """Raise on a codec that cannot be made, or whose updates would not be what the other keys say of them.

    Raises:
        InputError: naming the keys and what to change.
    """
    compression, privacy = config.compression, config.privacy
    if compression.down != "none" and make_codec(compression, layout, "down").traits.feedback == "never":
        raise InputError(
            f"'compression.down' is '{compression.down}', but its error may be longer than the difference, so that what"
            " the devices hold would drift away; set compression.down_options.unbiased=false (random-k), or a smaller"
            " 'block' (int4)"
        )
    if compression.up == "none":
        return
    traits = make_codec(compression, layout).traits
    fact = f"'compression.up' is '{compression.up}'"
    feedback = keeps_residual(compression, traits)
    if feedback and traits.feedback == "never":
        raise InputError(
            f"{fact} and 'compression.error_feedback' true, but its error may be longer than the update, so that what"
            " is kept would grow; set compression.error_feedback=false"
        )
    if feedback and privacy.unit == "user" and privacy.noise_at == "server":
        raise InputError(
            f"{fact} with error feedback, but 'privacy.unit' is 'user' with noise on the server: what a device keeps is"
            " from before the noise; set compression.error_feedback=false, or choose fp16, int8, int4 or eden"
        )
    if traits.sparse and config.strategy.aggregation in CENTRES:
        raise InputError(
            f"{fact}, which leaves most entries of an update 0, but 'strategy.aggregation' is"
            f" '{config.strategy.aggregation}', which would be 0 there; choose a codec that sends every entry, or"
            " strategy.aggregation=norm-bound"
        )
