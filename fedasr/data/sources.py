"""Open the corpus that a config asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DataConfig, SecretsConfig
from fedasr.data.corpus import Column, Corpus
from fedasr.data.identity import identities, identity
from fedasr.data.manifest import ManifestCorpus
from fedasr.data.public import PUBLIC
from fedasr.data.splits import set_aside
from fedasr.data.subset import Subset
from fedasr.errors import InputError, nearest
from fedasr.registry import is_reference, make_part

ALWAYS = ("speaker", "text", "split", "duration_s")


def open_corpus(config: DataConfig, seed: int) -> Corpus:
    """Return the corpus of ``config.corpus``, less what ``where``, ``exclude`` and the bounds in seconds leave out.

    Rows without audio (0 seconds), and those whose declared duration is not that of their audio, are not left out as
    too short or too long: they are bad data, to be reported or counted.

    Raises:
        InputError: the corpus cannot be opened, ``where`` or ``exclude`` names an unknown column, or nothing remains.
    """
    return usable_corpus(config, seed)[0]


def usable_corpus(
    config: DataConfig, seed: int, secrets: SecretsConfig | None = None, transcribed: bool = True
) -> tuple[Corpus, dict[str, int]]:
    """Return what ``open_corpus`` does, and how many utterances of its two splits each bound leaves out, by reason.

    Args:
        config: section ``data``.
        seed: of the run.
        secrets: that synthetic speakers say beside the rest; None: none.
        transcribed: whether a manifest must have transcripts.

    Raises:
        InputError: as ``open_corpus``.
    """
    corpus = _open(config, seed, secrets, transcribed)
    if config.public_share:
        corpus = set_aside(corpus, config.public_share, seed, config.train_split)
    kept = np.ones(len(corpus), bool)
    for name, wanted in config.where.items():
        kept &= _matching(corpus, "where", str(name), wanted)
        if not kept.any():
            raise InputError(f"nothing remains of {len(corpus)} utterances after 'data.where.{name}'; loosen it")
    for name, unwanted in config.exclude.items():
        kept &= ~_matching(corpus, "exclude", str(name), unwanted)
        if not kept.any():
            raise InputError(f"nothing remains of {len(corpus)} utterances after 'data.exclude.{name}'; shorten it")
    seconds = np.asarray(corpus.columns["duration_s"], dtype=np.float32)
    short, long = (seconds != 0) & (seconds < config.min_seconds), seconds > config.max_seconds
    wrong_durations = getattr(corpus, "wrong_durations", None)
    if wrong_durations is not None:
        wrong = wrong_durations(np.flatnonzero(kept & (short | long)))
        short[wrong] = long[wrong] = False
    splits = np.asarray(corpus.columns["split"])
    used = kept & ((splits == config.train_split) | (splits == config.test_split))
    left_out = {
        f"shorter than data.min_seconds ({config.min_seconds:g} s)": int((used & short).sum()),
        f"longer than data.max_seconds ({config.max_seconds:g} s)": int((used & long).sum()),
    }
    kept &= ~(short | long)
    if not kept.any():
        raise InputError(
            f"nothing remains of {len(corpus)} utterances, which last {seconds.min():.2f} to {seconds.max():.2f} s:"
            f" 'data.min_seconds' is {config.min_seconds} and 'data.max_seconds' is {config.max_seconds}"
        )
    usable = corpus if kept.all() else Subset(corpus, np.flatnonzero(kept))
    return usable, {reason: count for reason, count in left_out.items() if count}


def _open(config: DataConfig, seed: int, secrets: SecretsConfig | None, transcribed: bool) -> Corpus:
    if config.corpus == "synthetic":
        from fedasr.data.synthetic import SyntheticCorpus

        own = config.synthetic.seed
        return SyntheticCorpus(config.synthetic, seed if own is None else own, secrets)
    if config.corpus == "manifest":
        if config.manifest is None:
            raise InputError("'data.corpus' is 'manifest' but 'data.manifest' is not set; give its path")
        return ManifestCorpus(
            config.manifest,
            held_out=config.held_out,
            seed=seed,
            train_split=config.train_split,
            test_split=config.test_split,
            transcribed=transcribed,
        )
    if config.corpus in PUBLIC:
        return PUBLIC[config.corpus](config, seed)
    if is_reference(config.corpus):
        return _own(config, seed)
    known = ("synthetic", "manifest", *PUBLIC)
    raise InputError(f"'data.corpus' is '{config.corpus}'{nearest(config.corpus, known)}; expected {', '.join(known)}")


def _own(config: DataConfig, seed: int) -> Corpus:
    """Return the user's own corpus, checked for what every corpus has."""
    known = {"config": config, "seed": seed}
    corpus = make_part(config.corpus, "data.corpus", known, config.corpus_options, "data.corpus_options", (config,))
    missing = [name for name in ("waveform", "content_key", "where", "columns") if not hasattr(corpus, name)]
    missing += [f"column '{name}'" for name in ALWAYS if name not in getattr(corpus, "columns", {})]
    if missing:
        raise InputError(f"'data.corpus' is '{config.corpus}', which returns no corpus: it has no {missing[0]}")
    if not len(corpus):
        raise InputError(f"'data.corpus' is '{config.corpus}', which returns a corpus without utterances")
    given: Corpus = corpus
    named = {name: identities(given.columns[name]) for name in ("speaker", "split")}
    if all((named[name] == given.columns[name]).all() for name in named):
        return given
    renamed = Subset(given, np.arange(len(given)))
    renamed.columns = {**renamed.columns, **named}
    return renamed


def _matching(corpus: Corpus, key: str, name: str, wanted: Any) -> npt.NDArray[np.bool_]:
    """Return which rows have one of the values that ``data.where`` or ``data.exclude`` lists for a column."""
    if name not in corpus.columns:
        known = ", ".join(corpus.columns)
        raise InputError(f"'data.{key}' names column '{name}'{nearest(name, corpus.columns)}; the corpus has: {known}")
    column = corpus.columns[name]
    values = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    mask = np.zeros(len(column), bool)
    for value in values:
        matches = _equal(column, value, f"data.{key}.{name}")
        if not matches.any():
            shown = sorted({str(v) for v in column})
            more = ", …" if len(shown) > 12 else ""
            raise InputError(
                f"'data.{key}.{name}' is '{value}'{nearest(str(value), shown)}, which no utterance has;"
                f" expected one of: {_quoted(shown[:12])}{more}"
            )
        mask |= matches
    return mask


def _equal(column: Column, value: Any, key: str) -> npt.NDArray[np.bool_]:
    """Return which entries equal a value from a config: numbers as numbers, all else as text."""
    if column.dtype.kind in "iuf":
        try:
            return np.asarray(column == float(value), dtype=bool)
        except (TypeError, ValueError):
            raise InputError(f"'{key}' is '{value}'; expected a number") from None
    text = str(value).lower() if isinstance(value, bool) else "" if value is None else identity(str(value))
    return np.asarray(identities(column) == text, dtype=bool)


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)
