"""A run's model on speech that the run never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedasr.config import Config, load
from fedasr.config.parts import look_for_parts
from fedasr.config.schema import DataConfig, EvaluateConfig
from fedasr.data.audio import read_audio
from fedasr.data.corpus import SAMPLE_RATE_HZ, BadAudio
from fedasr.data.features import LogMel
from fedasr.data.sources import open_corpus
from fedasr.data.speech import Speech, collate
from fedasr.errors import InputError, nearest
from fedasr.evaluation.evaluator import evaluate
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.models.decoding.own import make_decoder
from fedasr.models.factory import build_model
from fedasr.models.own_tokenizer import load_tokenizer
from fedasr.models.tokenizer import Tokenizer
from fedasr.models.weights import load_arrays, read_weights
from fedasr.paths import is_file
from fedasr.registry import is_reference

DECODERS = ("greedy", "beam", "vocabulary")


class KnownCharacters:
    """A tokenizer that leaves out what it does not know: foreign references are scored, not refused."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the tokens of the known characters of ``text``."""
        unknown = self.tokenizer.unknown(text)
        return self.tokenizer.encode("".join(c for c in self.tokenizer.normalise(text) if c not in unknown))


class Recognizer:
    """The model, tokenizer and settings of a run folder.

    Raises:
        InputError: the folder holds no finished run.
    """

    def __init__(self, folder: Path) -> None:
        config_file = folder / "config.yaml"
        if not is_file(config_file):
            raise InputError("is not a run folder: it has no config.yaml", where=str(folder))
        arrays, path = read_weights(folder)
        self.config: Config = load(config_file)
        look_for_parts(folder)
        self.tokenizer = load_tokenizer(folder / "tokenizer.json", self.config.model)
        self.model: SpeechModel = build_model(
            self.config.model, self.config.data.features.mel_bins, self.tokenizer.size
        )
        try:
            load_arrays(self.model, arrays)
        except ValueError as error:
            raise InputError(f"{error}; the folder's config.yaml is of another model", where=str(path)) from None
        self.model.eval()

    def settings(self, decoder: str | None) -> EvaluateConfig:
        """Return the run's evaluation settings with another decoder.

        Raises:
            InputError: there is no such decoder.
        """
        name = decoder or self.config.evaluate.decoder
        if name not in DECODERS and not is_reference(name):
            known = ", ".join(DECODERS)
            raise InputError(
                f"is '{name}'{nearest(name, DECODERS)}; expected one of: {known}, or 'package.module:attribute'",
                where="--decoder",
            )
        same = name == self.config.evaluate.decoder
        options = self.config.evaluate.decoder_options if same else {}
        return replace(self.config.evaluate, decoder=name, decoder_options=options)

    def vocabulary(self, settings: EvaluateConfig) -> Sequence[str]:
        """Return the phrases of decoder ``vocabulary``: the configured ones, or the run's training transcripts."""
        if settings.decoder != "vocabulary":
            return ()
        if settings.vocabulary:
            return settings.vocabulary
        try:
            return Experiment(self.config).vocabulary
        except InputError as error:
            raise InputError(
                f"the phrases of decoder 'vocabulary' are the run's training transcripts, which cannot be read: {error}"
            ) from None


def evaluate_manifest(
    folder: Path,
    manifest: Path,
    split: str | None = None,
    decoder: str | None = None,
    by: str | None = None,
    vocabulary: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return WER and CER (fractions) of a run's model on a manifest.

    Args:
        folder: the run folder.
        manifest: utterances with transcripts.
        split: only utterances of this split.
        decoder: ``greedy``, ``beam`` or ``vocabulary``; None: the run's own.
        by: a column whose values get a WER of their own.
        vocabulary: the phrases of decoder ``vocabulary``; None: the run's own.

    Returns:
        ``{"wer", "cer", "utterances", "words", "by": {value: {"wer", "utterances"}}}``.

    Raises:
        InputError: the run, the manifest, the split, the decoder or the column is wrong, or an audio file is.
    """
    recognizer = Recognizer(folder)
    settings = recognizer.settings(decoder)
    data: DataConfig = replace(
        recognizer.config.data, corpus="manifest", manifest=str(manifest), where={}, min_seconds=0.0, max_seconds=1e6
    )
    corpus = open_corpus(data, recognizer.config.seed)
    if by is not None and by not in corpus.columns:
        raise InputError(
            f"--by '{by}'{nearest(by, corpus.columns)}; the manifest has: {', '.join(corpus.columns)}",
            where=str(manifest),
        )
    splits = np.asarray(corpus.columns["split"])
    rows = np.arange(len(corpus)) if split is None else np.flatnonzero(splits == split)
    if not len(rows):
        known = ", ".join(sorted({str(s) for s in splits}))
        guess = nearest(str(split), known.split(", "))
        raise InputError(f"no utterances in split '{split}'{guess}; the manifest has: {known}", where=str(manifest))
    speech = Speech(corpus, KnownCharacters(recognizer.tokenizer), data)
    evaluation = evaluate(
        recognizer.model,
        speech,
        recognizer.tokenizer,
        rows,
        settings,
        recognizer.vocabulary(settings) if vocabulary is None else vocabulary,
        () if by is None else (by,),
    )
    if not evaluation.errors.utterances:
        raise InputError(f"the audio of none of {len(rows)} utterances can be used", where=str(manifest))
    groups = evaluation.groups.get(by, {}) if by is not None else {}
    return {
        "wer": evaluation.errors.wer,
        "cer": evaluation.errors.cer,
        "utterances": evaluation.errors.utterances,
        "words": evaluation.errors.words,
        "decoder": settings.decoder,
        "by": {value: {"wer": c.wer, "utterances": c.utterances} for value, c in groups.items()},
    }


@dataclass(frozen=True)
class Transcript:
    """What was recognised in an audio file; ``problem`` says why there is no text where the file cannot be used."""

    path: Path
    text: str | None
    problem: str | None = None


def transcribe_files(folder: Path, audio: Sequence[Path], decoder: str | None = None) -> Iterator[Transcript]:
    """Yield the transcript of each audio file, or why there is none.

    Raises:
        InputError: the run or the decoder is wrong.
    """
    recognizer = Recognizer(folder)
    settings = recognizer.settings(decoder)
    vocabulary = recognizer.vocabulary(settings)
    chosen = make_decoder(settings, recognizer.tokenizer)
    log_mel = LogMel(recognizer.config.data.features)
    for path in audio:
        try:
            waveform = read_audio(path)
        except BadAudio as error:
            yield Transcript(path, None, f"the audio {error}")
            continue
        batch = collate([log_mel(waveform)], [np.zeros(0, np.int64)], len(waveform) / SAMPLE_RATE_HZ, (0,))
        with torch.inference_mode():
            (text,) = recognizer.model.hypotheses(
                batch, recognizer.tokenizer, chosen, beam=settings.beam, vocabulary=vocabulary
            )
        yield Transcript(path, text)
