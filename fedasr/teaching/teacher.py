"""A finished run as a teacher."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from fedasr.config.schema import DataConfig, FeatureConfig, ModelConfig
from fedasr.data.corpus import Corpus
from fedasr.data.posteriors import Header
from fedasr.data.relabelled import NoTokens, untranscribed
from fedasr.data.speech import Speech
from fedasr.evaluation.recognizer import Recognizer
from fedasr.models.base import SpeechModel
from fedasr.models.rnnt import TransducerModel
from fedasr.models.tokenizer import Tokenizer
from fedasr.models.weights import model_arrays, sha256
from fedasr.teaching.asked import asked_of

PROBES = (1, 10, 97, 98, 99, 100, 101, 102, 103, 104, 1000)
"""Feature frames whose output frames tell one frame rate from another."""


class Teacher:
    """The model of a run folder, asked what it hears.

    Args:
        folder: of a finished run.
        device: where the model is to run.

    Raises:
        InputError: the folder holds no finished run.
    """

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        self.folder = folder
        result = Recognizer(folder)
        self.config, self.tokenizer = result.config, result.tokenizer
        self.weights = sha256(model_arrays(result.model))
        self.model: SpeechModel = result.model if device is None else result.model.to(device)

    def header(self, targets: str, top_k: int, beam: int, n_best: int, counterfactual: str = "none") -> Header:
        """Return what a store of its answers is of; arguments as in section ``distillation``."""
        return Header(
            targets=targets,
            classes=self.tokenizer.size,
            teacher=digest([self.weights, settings(self.config.model, ModelConfig())]),
            tokenizer=digest_of_tokenizer(self.tokenizer),
            features=digest(settings(self.config.data.features, FeatureConfig())),
            stride=stride(self.model),
            asked=asked_of(targets, min(top_k, self.tokenizer.size), beam, n_best),
            counterfactual=counterfactual,
        )

    def speech(self, corpus: Corpus, data: DataConfig) -> Speech:
        """Return a corpus as the teacher hears it, without transcripts.

        Args:
            corpus: any.
            data: section ``data`` of whoever has the corpus.
        """
        return Speech(untranscribed(corpus), NoTokens(), replace(data, features=self.config.data.features))


def settings(section: ModelConfig | FeatureConfig, default: ModelConfig | FeatureConfig) -> dict[str, Any]:
    """Return what a section sets: keys that a later version adds change nothing while they have their defaults."""
    defaults = asdict(default)
    return {name: value for name, value in asdict(section).items() if value != defaults[name]}


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def digest_of_tokenizer(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of what a tokenizer writes into ``tokenizer.json``."""
    return digest(tokenizer.to_dict())


def encoder_frames(model: SpeechModel, lengths: torch.Tensor) -> torch.Tensor:
    """Return the frames that the encoder makes of so many feature frames, shape ``(batch,)``."""
    return (
        model.subsampling.output_frames(lengths) if isinstance(model, TransducerModel) else model.output_frames(lengths)
    )


def stride(model: SpeechModel) -> dict[str, int]:
    """Return the frames that the encoder makes of ``PROBES`` feature frames."""
    frames = encoder_frames(model, torch.tensor(PROBES)).tolist()
    return {str(length): int(made) for length, made in zip(PROBES, frames, strict=True)}
