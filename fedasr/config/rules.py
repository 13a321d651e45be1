"""Combinations of keys that cannot run, each with what to do instead."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError

LONGEST_NAME = 100


def check_combinations(config: Config, where: str) -> None:
    """Raise on a combination of valid values that has no meaning.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    data, model = config.data, config.model
    usual = config.name.isprintable() and not config.name.startswith(".") and not set(config.name) & set("/\\")
    if not config.name or not usual or len(config.name) > LONGEST_NAME:
        refuse(f"'name' is '{config.name}'; expected a name that can be part of a file name")
    if data.corpus == "manifest" and data.manifest is None:
        refuse("'data.corpus' is 'manifest' but 'data.manifest' is not set; give the path of the manifest")
    if data.corpus in ("librispeech", "speechcommands", "commonvoice") and data.root is None:
        refuse(f"'data.corpus' is '{data.corpus}' but 'data.root' is not set; give the folder of the corpus")
    if data.download and data.corpus == "commonvoice":
        refuse("'data.download' is true, but Common Voice asks for a consent in a browser; download it there")
    if data.max_seconds <= data.min_seconds:
        refuse("'data.max_seconds' must be larger than 'data.min_seconds'")
    if data.train_split == data.test_split:
        refuse(f"'data.train_split' and 'data.test_split' are both '{data.train_split}'; evaluate on held-out speech")
    if data.corpus == "synthetic":
        if data.synthetic.grammar == "words" and not data.synthetic.words:
            refuse("'data.synthetic.grammar' is 'words' but 'data.synthetic.words' is empty; list the words")
        if data.synthetic.min_snr_db > data.synthetic.max_snr_db:
            refuse("'data.synthetic.min_snr_db' must not be larger than 'data.synthetic.max_snr_db'")
    if len(model.channels) != len(model.strides):
        refuse(
            f"'model.channels' has {len(model.channels)} entries and 'model.strides' {len(model.strides)};"
            " expected one stride per convolution"
        )
    if not model.channels or min(model.channels) < 1 or min(model.strides) < 1:
        refuse("'model.channels' and 'model.strides' must be lists of integers of at least 1")
    if model.kernel % 2 == 0 or model.conformer.kernel % 2 == 0:
        refuse("'model.kernel' and 'model.conformer.kernel' must be odd, so that frames stay aligned")
    if model.name == "ctc-conformer" and model.hidden % model.conformer.heads:
        refuse(f"'model.conformer.heads' is {model.conformer.heads}; it must divide 'model.hidden' ({model.hidden})")
    if config.strategy.name == "fedprox" and config.client.proximal == 0:
        refuse("'strategy.name' is 'fedprox' but 'client.proximal' is 0; set mu, for example client.proximal=0.01")
    if config.data.features.hop_ms > config.data.features.window_ms:
        refuse("'data.features.hop_ms' must not be larger than 'data.features.window_ms'")
