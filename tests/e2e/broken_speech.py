"""Synthetic speech in which one speaker's recordings are of no use, as corpora of the user's own."""

from __future__ import annotations

from fedasr.config.schema import DataConfig
from fedasr.data.corpus import BadAudio, Waveform
from fedasr.data.synthetic import SyntheticCorpus

SPEAKER = "s00004"


class BreaksDown(SyntheticCorpus):
    """The device of one speaker fails, as a full disk or a driver makes it fail."""

    def waveform(self, index: int) -> Waveform:
        if self.columns["speaker"][index] == SPEAKER:
            raise OSError("the disk of this device is full")
        return super().waveform(index)

    def content_key(self, index: int) -> bytes:
        return b"broken" + super().content_key(index)


class Corrupt(SyntheticCorpus):
    """The recordings of one speaker cannot be decoded: wrong input."""

    def waveform(self, index: int) -> Waveform:
        if self.columns["speaker"][index] == SPEAKER:
            raise BadAudio(f"{self.where(index)}: is no audio")
        return super().waveform(index)

    def content_key(self, index: int) -> bytes:
        return b"corrupt" + super().content_key(index)


def breaks_down(config: DataConfig, seed: int) -> BreaksDown:
    return BreaksDown(config.synthetic, seed)


def corrupt(config: DataConfig, seed: int) -> Corrupt:
    return Corrupt(config.synthetic, seed)
