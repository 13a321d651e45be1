"""Keys between a waveform and what a model hears: features, augmentation, the cache."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless
from fedasr.config.schema.keys import key


@dataclass
class FeatureConfig:
    """Log-mel features."""

    mel_bins: int = key(40, "mel bands", low=8, high=256)
    window_ms: float = key(25.0, "analysis window in milliseconds", low=1, high=1000)
    hop_ms: float = key(10.0, "hop between frames in milliseconds", low=1, high=1000)
    normalize: str = key("utterance", "mean and variance per utterance, or none", choices=("utterance", "none"))


@dataclass
class AugmentConfig:
    """Augmentation of training speech; evaluation never sees it."""

    time_shift_ms: float = key(0.0, "largest random shift of the waveform, either way", low=0)
    speed: float = key(0.0, "speed drawn from 1 ± this", low=0, high=0.5)
    noise_snr_db: float | None = key(None, "lowest SNR of added noise in decibels (up to 40); absent: none")
    gain_db: float = key(0.0, "gain drawn from ± this, in decibels", low=0)
    frequency_masks: int = key(0, "SpecAugment frequency masks", low=0)
    frequency_mask_bins: int = key(8, "widest frequency mask in mel bands", low=0, when=unless(".frequency_masks", 0))
    time_masks: int = key(0, "SpecAugment time masks", low=0)
    time_mask_share: float = key(
        0.1, "widest time mask as a share of the utterance", low=0, high=1, when=unless(".time_masks", 0)
    )


@dataclass
class CacheConfig:
    """The cache of features: bounded, keyed by content and parameters, safe for several processes."""

    directory: str | None = key(None, "folder of the cache on disk; absent: the user's cache folder; `off`: none")
    disk_mb: float = key(2048.0, "bound of the cache on disk in megabytes", above=0, when=unless(".directory", "off"))
    memory_mb: float = key(64.0, "bound of what each process keeps in memory, in megabytes", low=0)
