"""The same utterances in other voices: all that a synthetic corpus says, with one attribute of every speaker set.

What is said, the manner of each utterance and the noise stay as they are, since each is drawn for itself. So the
utterances of two levels are pairs that differ in the attribute alone.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedasr.data.synthetic.corpus import SyntheticCorpus
from fedasr.data.synthetic.speakers import DEVICES, FEMALE, MALE, VARIANTS, Speakers
from fedasr.errors import InputError
from fedasr.seeds import generator
from fedasr.typing import Floats

ATTRIBUTES = ("gender", "voice", "accent", "device", "rate")
RATES = {"slower": 0.8, "as it is": 1.0, "faster": 1.25}
DEVICE_COLUMNS = ("device", "noise", "gain_db", "snr_db", "low_hz", "high_hz", "reverb_s", "reverb_db")


def counterfactuals(corpus: SyntheticCorpus, attribute: str) -> dict[str, SyntheticCorpus]:
    """Return level → the corpus with the attribute of all speakers at that level; its columns are those of before.

    A speaker whose own level it is stays as it is. For the others, what the level leaves open, such as which voice
    of the other gender, is drawn with the corpus's seed, test speakers from voices of test speakers.

    Args:
        corpus: any.
        attribute: ``gender`` (f, m); ``voice`` (own, another of the same gender: what a voice matters without any
            attribute); ``accent`` and ``device`` (each one of the corpus); ``rate`` (a fifth slower, a fourth faster).

    Raises:
        InputError: the corpus has one level only.
    """
    table = corpus.speakers
    draws = generator(corpus.seed, f"counterfactual/{attribute}").random(len(table))
    levels: dict[str, Speakers]
    if attribute == "gender":
        levels = {name: of_gender(table, name == "f", draws) for name in ("f", "m")}
    elif attribute == "voice":
        levels = {"own": table, "another": another_voice(table, draws)}
    elif attribute == "accent":
        if len(table.accents) < 2:
            raise InputError(f"all voices have the accent '{table.accents[0]}'; there is no other to compare with")
        levels = {
            name: replace(table, accent=np.full_like(table.accent, place)) for place, name in enumerate(table.accents)
        }
    elif attribute == "device":
        if not table.devices:
            raise InputError("'data.synthetic.device' is false, so that there are no devices to compare")
        present = sorted(set(table.device.tolist()))
        if len(present) < 2:
            raise InputError("all speakers have one kind of device; there is no other to compare with")
        levels = {list(DEVICES)[place]: with_device(table, place, draws) for place in present}
    else:
        levels = {name: replace(table, rate_wpm=at_rate(table, factor)) for name, factor in RATES.items()}
    return {name: spoken_by(corpus, speakers) for name, speakers in levels.items()}


def spoken_by(corpus: SyntheticCorpus, speakers: Speakers) -> SyntheticCorpus:
    """Return the corpus with other voices and devices; who says what stays."""
    changed = copy(corpus)
    changed.speakers = speakers
    return changed


def voices_of(table: Speakers, female: bool, held_out: bool) -> npt.NDArray[np.uint8]:
    """Return the voices of a gender that training or test speakers have."""
    names = (FEMALE if female else MALE)[int(held_out)]
    return np.array([VARIANTS.index(name) for name in names], np.uint8)


def of_gender(table: Speakers, female: bool, draws: Floats) -> Speakers:
    """Return the speakers with voices of a gender."""
    variant = table.variant.copy()
    for held_out in (False, True):
        voices = voices_of(table, female, held_out)
        chosen = (table.female != female) & ((np.arange(len(table)) >= table.training) == held_out)
        variant[chosen] = voices[(draws[chosen] * len(voices)).astype(np.int64)]
    return replace(table, variant=variant, female=np.full_like(table.female, female))


def another_voice(table: Speakers, draws: Floats) -> Speakers:
    """Return the speakers, each with another voice of its gender."""
    variant = table.variant.copy()
    for female in (False, True):
        for held_out in (False, True):
            voices = voices_of(table, female, held_out)
            chosen = (table.female == female) & ((np.arange(len(table)) >= table.training) == held_out)
            own = np.searchsorted(voices, table.variant[chosen], sorter=np.argsort(voices))
            place = np.argsort(voices)[own]
            further = 1 + (draws[chosen] * (len(voices) - 1)).astype(np.int64)
            variant[chosen] = voices[(place + further) % len(voices)]
    return replace(table, variant=variant)


def with_device(table: Speakers, kind: int, draws: Floats) -> Speakers:
    """Return the speakers, those of other devices with the device of a speaker who has one of the kind."""
    donors = np.flatnonzero(table.device == kind)
    source = np.where(table.device == kind, np.arange(len(table)), donors[(draws * len(donors)).astype(np.int64)])
    return replace(table, **{name: getattr(table, name)[source] for name in DEVICE_COLUMNS})


def at_rate(table: Speakers, factor: float) -> npt.NDArray[np.int16]:
    """Return words a minute, within what espeak-ng speaks."""
    return np.asarray(np.clip(np.rint(table.rate_wpm * factor), 80, 450), np.int16)
