"""Each law of a selector is broken by some selector, and the message says so; shipped ones are tested beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.privacy.sampling import Traits
from fedasr.strategies.selection import Selection, Stateless
from fedasr.testing import check_selector


class Sound(Stateless):
    """Uniform, written anew."""

    traits: Traits | None = Traits("fixed-size")

    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        there = roster.selectable
        chosen = rng.permutation(there)[:k].astype(np.int64)
        return Selection(chosen, np.full(len(chosen), min(1.0, k / max(len(there), 1))))


class Global(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        return super().select(round, roster, k, np.random.default_rng())


class Twice(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        ids = np.repeat(roster.selectable[:1], 2).astype(np.int64)
        return Selection(ids, np.ones(2))


class Anybody(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        ids = rng.permutation(len(roster))[:k].astype(np.int64)
        return Selection(ids, np.full(len(ids), min(1.0, k / len(roster))))


class Everybody(Sound):
    traits = None

    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        return Selection(roster.selectable.astype(np.int64), np.ones(len(roster.selectable)))


class Writes(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        roster.last_round[:] += 1
        return super().select(round, roster, k, rng)


class Overstates(Sound):
    traits = Traits("none")

    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        chosen = super().select(round, roster, k, rng)
        return Selection(chosen.clients, np.minimum(1.0, 2 * chosen.probabilities))


class Understates(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        chosen = super().select(round, roster, k, rng)
        return Selection(chosen.clients, chosen.probabilities / 2)


class Forgets(Sound):
    """The first cohort again, which no checkpoint holds."""

    def __init__(self) -> None:
        self.kept: Any = None

    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        self.kept = super().select(round, roster, k, rng) if self.kept is None else self.kept
        return self.kept


class Unspeakable(Sound):
    def state_dict(self) -> dict[str, Any]:
        return {"value": float("nan")}


class ByLoss(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        there = roster.selectable
        order = np.argsort(-np.nan_to_num(roster.last_loss[there], nan=rng.random()), kind="stable")
        chosen = there[order[:k]].astype(np.int64)
        return Selection(chosen, np.full(len(chosen), min(1.0, k / max(len(there), 1))))


class ByCount(Sound):
    def select(self, round: int, roster: Any, k: int, rng: np.random.Generator) -> Selection:
        there = roster.selectable
        chosen = there[np.argsort(-roster.utterances[there], kind="stable")[:k]].astype(np.int64)
        return Selection(chosen, np.full(len(chosen), min(1.0, k / max(len(there), 1))))


class NoPause(Sound):
    traits = Traits("none", separation=5)


def test_a_sound_selector_keeps_all_laws() -> None:
    check_selector(Sound)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Global, "the same seed, round and history give the same cohort"),
        (Twice, "the clients of a cohort are distinct"),
        (Anybody, "only clients of roster.selectable are chosen"),
        (Everybody, "at most k clients are chosen"),
        (Writes, "a selector only reads the roster"),
        (Overstates, "each client is drawn as often as its probability says"),
        (Understates, "'fixed-size' sampling draws everybody with probability k/N"),
        (Forgets, "also after state_dict and load_state_dict"),
        (Unspeakable, "state_dict holds JSON values"),
        (ByLoss, "losses change no cohort unless 'reads_losses' is declared"),
        (ByCount, "what clients store changes no cohort unless 'reads_activity' is declared"),
        (NoPause, "two participations of a client are at least the declared separation apart"),
    ],
)
def test_a_broken_selector_breaks_its_law(broken: type, sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_selector(broken)
    assert sentence in str(caught.value)
    assert "Broken by: roster '" in str(caught.value)
