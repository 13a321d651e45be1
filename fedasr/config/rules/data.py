"""What a description of the speech must have."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def check_data(config: Config, where: str) -> None:
    """Raise on speech that is not described in full, or that contradicts itself.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    data = config.data
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


def check_features(config: Config, where: str) -> None:
    """Raise on frames that would leave out samples between them.

    Raises:
        InputError: naming the keys and what to change.
    """
    if config.data.features.hop_ms > config.data.features.window_ms:
        raise InputError("'data.features.hop_ms' must not be larger than 'data.features.window_ms'", where=where)
