"""What may be put to the teachers of PATE."""

from __future__ import annotations

from fedasr.config.schema import Config
from fedasr.errors import InputError


def same_corpus(config: Config) -> bool:
    """Return whether the public speech comes from the corpus that the clients' comes from."""
    data, public = config.data, config.pate.public
    names = (
        "corpus",
        "corpus_options",
        "manifest",
        "root",
        "subset",
        "where",
        *(["synthetic"] if data.corpus == "synthetic" else []),
    )
    return all(getattr(public, name) == getattr(data, name) for name in names)


def check_public_speech(config: Config, where: str) -> None:
    """Raise on public speech that is not described in full, or that is the private speech.

    Raises:
        InputError: naming the keys and what to change.
    """

    def refuse(message: str) -> None:
        raise InputError(message, where=where)

    data, public = config.data, config.pate.public
    if public.corpus == "manifest" and public.manifest is None:
        refuse(
            "'pate.public.corpus' is 'manifest' but 'pate.public.manifest' is not set; give the path of the manifest"
        )
    if public.corpus in ("librispeech", "speechcommands", "commonvoice") and public.root is None:
        refuse(f"'pate.public.corpus' is '{public.corpus}' but 'pate.public.root' is not set; give its folder")
    if public.corpus == "synthetic":
        if public.synthetic.grammar == "words" and not public.synthetic.words:
            refuse("'pate.public.synthetic.grammar' is 'words' but 'pate.public.synthetic.words' is empty; list them")
        if public.synthetic.min_snr_db > public.synthetic.max_snr_db:
            refuse("'pate.public.synthetic.min_snr_db' must not be larger than 'pate.public.synthetic.max_snr_db'")
    if same_corpus(config) and public.corpus != "synthetic" and public.split in (data.train_split, data.test_split):
        refuse(
            f"'pate.public.split' is '{public.split}' of the corpus that 'data' reads too; public speech must be"
            " neither the teachers' nor what the student is evaluated on: choose another split, or other rows by"
            " 'where', or set some speakers aside with 'data.public_share' and choose split 'public'"
        )
