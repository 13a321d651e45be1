"""Keys of speech that is rendered."""

from __future__ import annotations

from dataclasses import dataclass

from fedasr.config.schema.conditions import unless, when
from fedasr.config.schema.keys import key


@dataclass
class SyntheticConfig:
    """Speech rendered by espeak-ng; see ``docs/synthetic-speech.md``."""

    grammar: str = key(
        "home",
        "what is said: commands (home), sentences that are none (everyday), connected digits, single words",
        choices=("home", "everyday", "digits", "keywords", "words"),
    )
    words: list[str] = key(
        list, "the vocabulary of grammar `words`; one word an utterance", when=when(".grammar", "words")
    )
    language: str = key("en", "espeak-ng language of grammar `words` (`en`, `ar`, …)", when=when(".grammar", "words"))
    seed: int | None = key(
        None,
        "of the speakers and of what they say, so that runs of several seeds hear the same speech; absent: the run's",
        low=0,
    )
    speakers: int = key(200, "training speakers, each a client under the natural partition", low=1)
    test_speakers: int = key(24, "held-out speakers; no training speaker has their voice", low=1)
    utterances_per_speaker: float = key(10.0, "mean utterances a training speaker", above=0)
    test_utterances_per_speaker: int = key(8, "utterances of each held-out speaker", low=1)
    activity: str = key("lognormal", "the law of utterances per speaker", choices=("constant", "lognormal", "pareto"))
    activity_spread: float = key(
        0.8,
        "sigma of `lognormal`; tail exponent is 1 + 1/spread for `pareto`",
        above=0,
        when=unless(".activity", "constant"),
    )
    topic_alpha: float = key(1.0, "Dirichlet concentration of a speaker's topic preference; small is skewed", above=0)
    clip_seconds: float = key(
        0.0, "shorter utterances lie somewhere in a recording of this many seconds; 0: no more than their own", low=0
    )
    device: bool = key(True, "pass the voice through a device: gain, band limit, small room, noise")
    min_snr_db: float = key(15.0, "lowest signal-to-noise ratio of a device, in decibels", when=when(".device", True))
    max_snr_db: float = key(40.0, "highest signal-to-noise ratio of a device, in decibels", when=when(".device", True))
