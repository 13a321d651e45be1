"""The speakers of a synthetic corpus: one columnar table, a row a speaker.

Every column has a generator of its own and is drawn in order, so a speaker keeps voice, device and activity when more
speakers are added after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import SyntheticConfig
from fedasr.data.synthetic.device import NOISES, Device
from fedasr.data.synthetic.espeak import Voice
from fedasr.seeds import generator
from fedasr.typing import Floats

# espeak-ng's accents of English: the name in the `accent` column, and espeak's name where it is another.
ACCENTS: dict[str, str] = {
    "en-us": "en-us",
    "en-us-nyc": "en-us-nyc",
    "en-gb": "en",
    "en-gb-x-rp": "en-gb-x-rp",
    "en-gb-scotland": "en-gb-scotland",
    "en-gb-x-gbclan": "en-gb-x-gbclan",
    "en-gb-x-gbcwmd": "en-gb-x-gbcwmd",
    "en-029": "en-029",
}

# espeak-ng's voice variants, less the robots, whispers and monsters. Written down and not read from the wheel, so that
# a corpus stays what it is when a newer wheel brings more. The second list of each gender is for test speakers only;
# variants that one person derived from another (Gene2, linda) are on one side.
FEMALE = (
    ("Alicia", "Andrea", "anika", "aunty", "f1", "f2", "f4", "f5", "grandma", "shelby", "steph", "steph2", "steph3"),
    ("Annie", "belinda", "f3", "linda"),
)
_MALE_TRAINING = """
    Andy AnxiousAndy Diogo Henrique Hugo Lee Marco Mario Michael Nguyen Reed adam antonio benjamin boris croak ed
    edward edward2 grandpa gustave ian iven iven2 iven3 iven4 john klatt klatt2 klatt4 klatt5 klatt6 m1 m2 m4 m5
    m7 m8 marcelo max michel miguel norbert paul pedro quincy rob sandro travis victor
"""
_MALE_TEST = "Alex Denis Gene Gene2 Jacky Mike Storm david klatt3 m3 m6 mike2 pablo robert"
MALE = (tuple(_MALE_TRAINING.split()), tuple(_MALE_TEST.split()))
VARIANTS = (*FEMALE[0], *FEMALE[1], *MALE[0], *MALE[1])


@dataclass(frozen=True)
class DeviceKind:
    """A kind of device: ranges from which a speaker's own device is drawn. SNR is a share of the configured range."""

    gain_db: tuple[float, float]
    snr: tuple[float, float]
    low_hz: tuple[float, float]
    high_hz: tuple[float, float]
    reverb_s: tuple[float, float]
    reverb_db: tuple[float, float]


DEVICES: dict[str, DeviceKind] = {
    "headset": DeviceKind((-6, 6), (0.5, 1.0), (60, 150), (6500, 7700), (0.0, 0.0), (-40, -40)),
    "phone": DeviceKind((-8, 4), (0.3, 1.0), (150, 300), (3400, 7000), (0.05, 0.12), (-20, -10)),
    "tv": DeviceKind((-10, 2), (0.1, 0.8), (80, 200), (5000, 7500), (0.10, 0.25), (-15, -6)),
    "far-field": DeviceKind((-16, -4), (0.0, 0.6), (60, 120), (6000, 7700), (0.15, 0.35), (-10, -3)),
}

_TEST_CLIENT = 1 << 32  # the first test speaker in the seeds, beyond any training speaker


@dataclass(frozen=True)
class Speakers:
    """The table. All columns have shape ``(speakers,)``; training speakers come first, ``training`` of them.

    ``variant``, ``accent``, ``device`` and ``noise`` are indices into ``VARIANTS``, ``accents``, ``DEVICES`` and
    ``NOISES``. ``activity`` is the expected number of utterances, ``utterances`` how many there are.
    """

    accents: tuple[str, ...]
    training: int
    devices: bool
    client: npt.NDArray[np.int64]
    variant: npt.NDArray[np.uint8]
    accent: npt.NDArray[np.uint8]
    female: npt.NDArray[np.bool_]
    rate_wpm: npt.NDArray[np.int16]
    pitch: npt.NDArray[np.int8]
    pitch_range: npt.NDArray[np.int8]
    device: npt.NDArray[np.uint8]
    noise: npt.NDArray[np.uint8]
    gain_db: npt.NDArray[np.float32]
    snr_db: npt.NDArray[np.float32]
    low_hz: npt.NDArray[np.float32]
    high_hz: npt.NDArray[np.float32]
    reverb_s: npt.NDArray[np.float32]
    reverb_db: npt.NDArray[np.float32]
    activity: npt.NDArray[np.float32]
    utterances: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of speakers, training and test."""
        return len(self.client)

    def name(self, speaker: int) -> str:
        """Return ``s00017``, or ``t00003`` for a test speaker."""
        return f"s{speaker:05d}" if speaker < self.training else f"t{speaker - self.training:05d}"

    def voice(self, speaker: int) -> Voice:
        """Return the voice of a speaker."""
        accent = self.accents[self.accent[speaker]]
        return Voice(
            ACCENTS.get(accent, accent),
            VARIANTS[self.variant[speaker]],
            int(self.rate_wpm[speaker]),
            int(self.pitch[speaker]),
            int(self.pitch_range[speaker]),
        )

    def heard_by(self, speaker: int) -> Device | None:
        """Return the device of a speaker; None where devices are off."""
        if not self.devices:
            return None
        return Device(
            float(self.gain_db[speaker]),
            float(self.snr_db[speaker]),
            NOISES[self.noise[speaker]],
            float(self.low_hz[speaker]),
            float(self.high_hz[speaker]),
            float(self.reverb_s[speaker]),
            float(self.reverb_db[speaker]),
        )


def speaker_table(config: SyntheticConfig, seed: int) -> Speakers:
    """Draw all speakers: training speakers, then held-out test speakers whose voice variants no training speaker has.

    Half of the speakers are women. Activity follows ``config.activity``: log-normal with mean 1 and the given sigma, or
    Pareto with tail exponent 1 + 1/spread and mean 1, times ``utterances_per_speaker``; everybody says something.
    """
    english = language_of(config) == "en"
    accents = tuple(ACCENTS) if english else (language_of(config),)
    columns = [
        _draw(config, seed, accents, "train", config.speakers),
        _draw(config, seed, accents, "test", config.test_speakers),
    ]
    joined = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    return Speakers(accents, config.speakers, config.device, **joined)


def language_of(config: SyntheticConfig) -> str:
    """Return the language that is spoken: only grammar ``words`` has a choice."""
    return config.language if config.grammar == "words" else "en"


def topic_preferences(config: SyntheticConfig, seed: int, topics: int) -> Iterator[tuple[int, Floats]]:
    """Yield ``(first speaker, weights (speakers, topics))`` for blocks of speakers, in the order of the table.

    Weights are symmetric Dirichlet(``topic_alpha``) and sum to 1. Blocks bound the memory where topics are many.
    """
    block = max((1 << 20) // topics, 1)
    first = 0
    for split, count in (("train", config.speakers), ("test", config.test_speakers)):
        rng = generator(seed, f"synthetic/{split}/topics")
        spare = generator(seed, f"synthetic/{split}/only-topic")
        for start in range(0, count, block):
            size = min(block, count - start)
            weights = rng.standard_gamma(config.topic_alpha, (size, topics))
            # A tiny alpha underflows to zeros; the limit of the Dirichlet is a single topic.
            only = spare.integers(topics, size=size)
            total = weights.sum(axis=1)
            empty = total <= 0
            weights[empty, only[empty]] = 1.0
            total[empty] = 1.0
            yield first + start, weights / total[:, None]
        first += count


def _draw(
    config: SyntheticConfig, seed: int, accents: tuple[str, ...], split: str, count: int
) -> dict[str, npt.NDArray[np.generic]]:
    def uniform(column: str) -> Floats:
        return generator(seed, f"synthetic/{split}/{column}").random(count)

    def normal(column: str) -> Floats:
        return generator(seed, f"synthetic/{split}/{column}").standard_normal(count)

    held_out = int(split == "test")
    female = uniform("gender") < 0.5
    pick = uniform("variant")
    variant = np.where(female, _pick(FEMALE[held_out], pick), _pick(MALE[held_out], pick))
    device = (uniform("device") * len(DEVICES)).astype(np.uint8)
    kinds = list(DEVICES.values())

    def within(column: str) -> Floats:
        bounds = np.array([getattr(kind, column) for kind in kinds], np.float64)[device]
        return np.asarray(bounds[:, 0] + uniform(column) * (bounds[:, 1] - bounds[:, 0]), np.float64)

    if split == "train":
        activity = _activity(config, normal("activity"), uniform("activity-tail")) * config.utterances_per_speaker
        utterances = np.maximum(np.floor(activity + uniform("utterances")), 1)
    else:
        activity = utterances = np.full(count, float(config.test_utterances_per_speaker))
    return {
        "client": np.arange(count, dtype=np.int64) + held_out * _TEST_CLIENT,
        "variant": variant.astype(np.uint8),
        "accent": (uniform("accent") * len(accents)).astype(np.uint8),
        "female": female,
        "rate_wpm": np.clip(155 + 17 * normal("rate"), 115, 200).astype(np.int16),
        "pitch": np.clip(50 + 12 * normal("pitch"), 20, 80).astype(np.int8),
        "pitch_range": np.clip(50 + 15 * normal("range"), 15, 85).astype(np.int8),
        "device": device,
        "noise": (uniform("noise") * len(NOISES)).astype(np.uint8),
        "gain_db": within("gain_db").astype(np.float32),
        "snr_db": (config.min_snr_db + within("snr") * (config.max_snr_db - config.min_snr_db)).astype(np.float32),
        "low_hz": within("low_hz").astype(np.float32),
        "high_hz": within("high_hz").astype(np.float32),
        "reverb_s": within("reverb_s").astype(np.float32),
        "reverb_db": within("reverb_db").astype(np.float32),
        "activity": activity.astype(np.float32),
        "utterances": utterances.astype(np.int64),
    }


def _pick(names: tuple[str, ...], uniform: Floats) -> npt.NDArray[np.int64]:
    rows = np.array([VARIANTS.index(name) for name in names])
    return np.asarray(rows[(uniform * len(rows)).astype(np.int64)], np.int64)


def _activity(config: SyntheticConfig, normal: Floats, uniform: Floats) -> Floats:
    """Return activity of mean 1."""
    if config.activity == "constant":
        return np.ones_like(normal)
    if config.activity == "lognormal":
        return np.exp(config.activity_spread * normal - config.activity_spread**2 / 2)
    exponent = 1 + 1 / config.activity_spread
    return np.asarray((exponent - 1) / exponent * (1 - uniform) ** (-1 / exponent), np.float64)
