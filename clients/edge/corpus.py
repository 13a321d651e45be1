"""The speech of a device: its manifest, read anew for every message, so that new recordings are in the next round."""

from __future__ import annotations

from fedasr.config.schema import DataConfig
from fedasr.data.manifest import ManifestCorpus
from fedasr.errors import InputError


def device_corpus(config: DataConfig, seed: int, transcribed: bool = True) -> ManifestCorpus:
    """Return the corpus of an edge device's manifest; where it has no splits, all of it is there to train on.

    Args:
        config: section ``data`` as the device reads it.
        seed: of the run.
        transcribed: whether the manifest must have transcripts.

    Raises:
        InputError: the manifest is missing or broken; the line is named.
    """
    if config.manifest is None:
        raise InputError("the edge device's node configuration names no manifest")
    # Speakers held out get the same split as the others: nothing is held out on an edge device.
    split = config.train_split
    return ManifestCorpus(config.manifest, seed=seed, train_split=split, test_split=split, transcribed=transcribed)
