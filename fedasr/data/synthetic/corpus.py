"""The synthetic corpus: a table of what each speaker says, and a renderer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import SecretsConfig, SyntheticConfig
from fedasr.data.corpus import SAMPLE_RATE_HZ, BadAudio, Column, Waveform
from fedasr.data.synthetic import espeak
from fedasr.data.synthetic.device import Device, apply
from fedasr.data.synthetic.grammar import load_grammar
from fedasr.data.synthetic.secrets import Secrets, planted
from fedasr.data.synthetic.speakers import DEVICES, Speakers, language_of, speaker_table, topic_preferences
from fedasr.seeds import generator

# Part of every cache key: raise it whenever a change below, in device.py or in espeak.py changes waveforms.
RENDERER_VERSION = 1

NOISE_SECONDS = 0.45
"""For each digit of a code: as long as the slowest speaker takes for the longest."""

_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


class SyntheticCorpus:
    """Speech that is rendered when it is asked for.

    Utterance ``u`` of speaker ``s`` (what is said, how, and how the device hears it) is a pure function of the config,
    the seed, ``s`` and ``u``. Columns besides the four of every corpus: ``gender`` (f, m), ``accent``, ``topic``,
    ``device`` (``none`` where devices are off) and ``activity`` (the speaker's expected number of utterances).

    Args:
        config: section ``data.synthetic``.
        seed: of all draws.
        secrets: codes that training speakers say after all else that they say; None: none.

    Raises:
        InputError: the espeak-ng wheel is missing, or it does not have the language.
    """

    columns: Mapping[str, Column]

    def __init__(self, config: SyntheticConfig, seed: int, secrets: SecretsConfig | None = None) -> None:
        self.config = config
        self.seed = seed
        self.secrets = secrets or SecretsConfig()
        self.grammar = load_grammar(config.grammar, config.words)
        self.speakers: Speakers = speaker_table(config, seed)
        where = "data.synthetic.language" if language_of(config) != "en" else None
        espeak.check_voice(self.speakers.voice(0), where)
        self.planted: Secrets = planted(self.secrets, config.speakers, seed)
        counts = self.speakers.utterances.copy()
        np.add.at(counts, self.planted.speakers.ravel(), 1)
        self._first = np.concatenate([[0], np.cumsum(counts)])
        self._speaker = np.repeat(np.arange(len(self.speakers), dtype=np.int32), counts)
        topics, texts = self._say(config)
        self.planted_rows = self._plant(texts)
        """where each code is said, shape ``(codes, repeats)``"""
        self.columns = _Columns(self._builders(topics, texts))

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self._speaker)

    def __reduce__(self) -> tuple[type[SyntheticCorpus], tuple[SyntheticConfig, int, SecretsConfig]]:
        """Pickle as the recipe: drawing the table again costs less than sending it to a worker."""
        return SyntheticCorpus, (self.config, self.seed, self.secrets)

    def waveform(self, index: int) -> Waveform:
        """Render utterance ``index``: float32, mono, 16,000 Hz, shape ``(samples,)``, values within ±1.

        Raises:
            BadAudio: espeak-ng makes no sound of the text.
        """
        speaker, utterance = self._locate(index)
        voice, device = self.speakers.voice(speaker), self.speakers.heard_by(speaker)
        rng = generator(self.seed, "synthetic/render", utterance, int(self.speakers.client[speaker]))
        # Nobody says a word twice in the same way.
        rate, pitch = rng.uniform(0.95, 1.05), rng.integers(-3, 4)
        varied = espeak.Voice(
            voice.language, voice.variant, round(voice.rate_wpm * rate), voice.pitch + int(pitch), voice.pitch_range
        )
        speech = espeak.render(str(self.columns["text"][index]), varied)
        if not speech.size:
            raise BadAudio(f"{self.where(index)}: espeak-ng makes no sound of it in '{voice.language}'")
        speech = self._place(speech, rng)
        return speech if device is None else apply(speech, device, rng)

    def _place(self, speech: Waveform, rng: np.random.Generator) -> Waveform:
        """Return the speech somewhere in a recording of ``clip_seconds``; the device's noise then fills the rest."""
        room = round(self.config.clip_seconds * SAMPLE_RATE_HZ) - len(speech)
        if room <= 0:
            return speech
        before = int(rng.integers(0, room + 1))
        return np.pad(speech, (before, room - before))

    def snr_db(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the signal-to-noise ratio of utterances in decibels, NaN where devices are off, shape ``(rows,)``."""
        ratios = self.speakers.snr_db[self._speaker[rows]].astype(np.float64)
        return ratios if self.speakers.devices else np.full(len(ratios), np.nan)

    def content_key(self, index: int) -> bytes:
        """Return the digest of the recipe, the renderer's version and espeak-ng's."""
        speaker, utterance = self._locate(index)
        recipe: tuple[int | float | str | espeak.Voice | Device | None, ...] = (
            RENDERER_VERSION,
            espeak.version(),
            self.speakers.voice(speaker),
            self.speakers.heard_by(speaker),
            str(self.columns["text"][index]),
            self.config.clip_seconds,
            self.seed,
            int(self.speakers.client[speaker]),
            utterance,
        )
        return hashlib.blake2b(repr(recipe).encode(), digest_size=16).digest()

    def where(self, index: int) -> str:
        """Return ``synthetic utterance 3 of speaker s00017 ('stop the music')``."""
        speaker, utterance = self._locate(index)
        text = self.columns["text"][index]
        return f"synthetic utterance {utterance} of speaker {self.speakers.name(speaker)} ('{text}')"

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"utterance {index} of {len(self)}")
        speaker = int(self._speaker[index])
        return speaker, int(index - self._first[speaker])

    def _say(self, config: SyntheticConfig) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.object_]]:
        """Return the topic and the text of every utterance."""
        topics = np.empty(len(self), np.uint16)
        utterance = np.arange(len(self)) - self._first[self._speaker]
        draws = _uniforms(self.seed, "synthetic/text", self.speakers.client[self._speaker], utterance, 3)
        for speaker, weights in topic_preferences(config, self.seed, len(self.grammar.topics)):
            start, stop = self._first[speaker], self._first[speaker + len(weights)]
            rows = self._speaker[start:stop] - speaker
            # Row r of the cumulative weights, shifted by r, lies in [r, r + 1]: one sorted list serves all speakers.
            bounds = np.cumsum(weights, axis=1)
            bounds[:, -1] = 1.0
            bounds += np.arange(len(weights))[:, None]
            drawn = np.searchsorted(bounds.ravel(), rows + draws[start:stop, 0], side="right")
            topics[start:stop] = np.clip(drawn - rows * weights.shape[1], 0, weights.shape[1] - 1)
        return topics, self.grammar.sentences(topics, draws[:, 1:])

    def _plant(self, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Put the sentences with codes into the last utterances of those who say them; return their rows."""
        speakers = self.planted.speakers
        order = np.argsort(speakers.ravel(), kind="stable")
        sorted_speakers = speakers.ravel()[order]
        before = np.arange(len(order)) - np.searchsorted(sorted_speakers, sorted_speakers)
        flat = np.empty(len(order), np.int64)
        flat[order] = self._first[sorted_speakers] + self.speakers.utterances[sorted_speakers] + before
        rows: npt.NDArray[np.int64] = flat.reshape(speakers.shape)
        for code, places in enumerate(rows):
            texts[places] = self.planted.sentence(code)
        return rows

    def masked(self, code: int, other: bool) -> Waveform:
        """Return the sentence of a code with noise in the code's place, float32, 16,000 Hz, shape ``(samples,)``.

        Nothing in it depends on the code: the noise is as long for each, and the beginning is spoken by itself.

        Args:
            code: which one.
            other: in the voice of a test speaker, instead of one who says the code.
        """
        told = int(self.planted.speakers[code, 0])
        speaker = self.speakers.training + code % (len(self.speakers) - self.speakers.training) if other else told
        voice, device = self.speakers.voice(speaker), self.speakers.heard_by(speaker)
        rng = generator(self.seed, "synthetic/masked", code, int(other))
        speech = espeak.render(self.planted.carrier(code), voice)
        noise = rng.standard_normal(round(self.planted.digits * NOISE_SECONDS * SAMPLE_RATE_HZ))
        level = float(np.sqrt(np.mean(np.square(speech, dtype=np.float64)))) if speech.size else 0.1
        whole = self._place(np.concatenate([speech, (level * noise).astype(np.float32)]), rng)
        limited = np.asarray(np.clip(whole, -1, 1), np.float32)
        return limited if device is None else apply(limited, device, rng)

    def _builders(
        self, topics: npt.NDArray[np.uint16], texts: npt.NDArray[np.object_]
    ) -> dict[str, Callable[[], Column]]:
        table, speaker = self.speakers, self._speaker

        def named(names: list[str], rows: npt.NDArray[np.integer]) -> Column:
            column: Column = np.array(names, object)[rows]
            return column

        def seconds() -> Column:
            # Fitted to rendered speech: 20 characters a second at 168 words a minute, and the kept silence.
            characters = np.fromiter(map(len, texts), np.float64, len(texts))
            spoken = 0.23 + characters / (20 * table.rate_wpm[speaker] / 168)
            return np.asarray(np.maximum(spoken, self.config.clip_seconds), np.float32)

        devices = list(DEVICES) if table.devices else ["none"] * len(DEVICES)
        return {
            "speaker": lambda: named([table.name(row) for row in range(len(table))], speaker),
            "text": lambda: texts,
            "split": lambda: named(["train", "test"], (speaker >= table.training).astype(np.int8)),
            "duration_s": seconds,
            "gender": lambda: named(["m", "f"], table.female[speaker].astype(np.int8)),
            "accent": lambda: named(list(table.accents), table.accent[speaker]),
            "topic": lambda: named(list(self.grammar.topics), topics),
            "device": lambda: named(devices, table.device[speaker]),
            "activity": lambda: table.activity[speaker],
        }


class _Columns(Mapping[str, Column]):
    """Columns that are built when they are first read: most runs partition on one and never read the others."""

    def __init__(self, builders: dict[str, Callable[[], Column]]) -> None:
        self._builders = builders
        self._built: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._built:
            self._built[name] = self._builders[name]()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._builders)

    def __len__(self) -> int:
        return len(self._builders)


def _uniforms(
    seed: int, purpose: str, client: npt.NDArray[np.int64], utterance: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.float64]:
    """Return ``count`` uniform draws in [0, 1) for each (client, utterance), shape ``(utterances, count)``.

    A hash of (seed, purpose, client, utterance, number of the draw), so that a million utterances need no generators.
    The mixer is SplitMix64's (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
    """
    key = generator(seed, purpose).integers(0, _MASK, dtype=np.uint64, endpoint=True)
    state = _mix(key + client.astype(np.uint64))
    state = _mix(state + utterance.astype(np.uint64))
    out = np.empty((len(state), count))
    for number in range(count):
        out[:, number] = (_mix(state + np.uint64(number)) >> np.uint64(11)) * 2.0**-53
    return out


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
