"""What sizes of a model fit together."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError
from fedasr.registry import is_reference


def check_model(config: Config, where: str) -> None:
    """Raise on layers that do not fit together.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    model = config.model
    if len(model.channels) != len(model.strides):
        refuse(
            f"'model.channels' has {len(model.channels)} entries and 'model.strides' {len(model.strides)};"
            " expected one stride per convolution"
        )
    if not model.channels or min(model.channels) < 1 or min(model.strides) < 1:
        refuse("'model.channels' and 'model.strides' must be lists of integers of at least 1")
    if model.kernel % 2 == 0 or model.conformer.kernel % 2 == 0:
        refuse("'model.kernel' and 'model.conformer.kernel' must be odd, so that frames stay aligned")
    conformer = model.name == "ctc-conformer" or (model.encoder == "conformer" and model.name != "las")
    if conformer and model.hidden % model.conformer.heads:
        refuse(f"'model.conformer.heads' is {model.conformer.heads}; it must divide 'model.hidden' ({model.hidden})")
    if is_reference(model.tokenizer) and model.alphabet == "auto":
        refuse(
            f"'model.alphabet' is 'auto' but 'model.tokenizer' is '{model.tokenizer}', whose tokens are its own;"
            " leave it out"
        )
    speller = model.speller
    if model.name in ("las", "hybrid") and speller.hidden % speller.heads:
        refuse(f"'model.speller.heads' is {speller.heads}; it must divide 'model.speller.hidden' ({speller.hidden})")
