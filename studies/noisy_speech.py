"""The speech of a manifest with pink noise, for a test by models that were trained without it.

    data: {corpus: "studies.noisy_speech:noisy_manifest", corpus_options: {min_snr_db: 0, max_snr_db: 10}}

The noise of an utterance is a function of its audio, so that every model is tested on the same waveforms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from fedasr.config.schema import DataConfig
from fedasr.data.augment import add_noise
from fedasr.data.corpus import Column, Waveform
from fedasr.data.manifest import ManifestCorpus

PINK = 1.0


class NoisyCorpus:
    """The utterances of a manifest, each with pink noise at a signal-to-noise ratio of its own.

    Args:
        clean: the corpus without noise.
        min_snr_db, max_snr_db: between which the ratio is drawn uniformly, in decibels.
    """

    def __init__(self, clean: ManifestCorpus, min_snr_db: float, max_snr_db: float) -> None:
        self.clean, self.bounds = clean, (min_snr_db, max_snr_db)
        self.columns: Mapping[str, Column] = clean.columns

    def __len__(self) -> int:
        return len(self.clean)

    def waveform(self, index: int) -> Waveform:
        """Return the noisy waveform of an utterance, shape ``(samples,)``, within ±1."""
        digest = hashlib.sha256(self.content_key(index)).digest()
        rng = np.random.default_rng(np.frombuffer(digest[:16], np.uint32))
        noisy = add_noise(self.clean.waveform(index), rng.uniform(*self.bounds), PINK, rng)
        return (noisy / max(1.0, float(np.abs(noisy).max(initial=0.0)))).astype(np.float32)

    def content_key(self, index: int) -> bytes:
        """Return the key of the clean utterance with the bounds of the noise."""
        return self.clean.content_key(index) + f"|pink {self.bounds}".encode()

    def where(self, index: int) -> str:
        """Return where the clean utterance comes from."""
        return self.clean.where(index)


def noisy_manifest(config: DataConfig, seed: int, min_snr_db: float = 0.0, max_snr_db: float = 10.0) -> NoisyCorpus:
    """Return the speech of ``data.manifest`` with noise."""
    if config.manifest is None:
        raise ValueError("data.manifest is not set")
    clean = ManifestCorpus(
        config.manifest,
        held_out=config.held_out,
        seed=seed,
        train_split=config.train_split,
        test_split=config.test_split,
    )
    return NoisyCorpus(clean, min_snr_db, max_snr_db)
