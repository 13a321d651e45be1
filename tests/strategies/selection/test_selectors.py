"""What holds for every selector: laws, reported probabilities, determinism, resume."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config.schema import AflConfig, OortConfig, SelectionConfig, walk
from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.strategies.selection import SELECTORS, PowerOfChoice, Probing, Selector, make_selector
from fedasr.testing import check_selector
from tests.tiers import examples

from .populations import draws, feedback, indicators, p_value, rng, roster


def probed(selector: Selector) -> Selector:
    if isinstance(selector, Probing):
        selector.probe = lambda round, clients: np.where(clients % 7 == 0, np.nan, np.sin(clients + round))
    return selector


def selector(name: str, **keys: object) -> Selector:
    return probed(make_selector(SelectionConfig(name=name, **keys)))  # type: ignore[arg-type]


VARIANTS: dict[str, Callable[[], Selector]] = {
    **{name: (lambda name=name: selector(name)) for name in SELECTORS},  # type: ignore[misc]
    "activity of recent seconds": lambda: selector("activity", activity="recent-seconds", exponent=0.5),
    "activity with replacement": lambda: selector("activity", replacement=True),
    "threshold of 3": lambda: selector("threshold", min_activity=3),
    "mixed, later": lambda: selector("mixed", active_rounds=0),
    "mixed with replacement": lambda: selector("mixed", replacement=True),
    "round-robin apart": lambda: selector("round-robin", separation=3),
    "rpow-d": lambda: selector("power-of-choice", probe="last", candidates=5),
    "oort that blacklists": lambda: selector("oort", oort=OortConfig(blacklist_rounds=1, pacer_rounds=1)),
    "oort that exploits": lambda: selector("oort", oort=OortConfig(exploration=0.0, exploration_floor=0.0)),
    "afl, greedy": lambda: selector("afl", afl=AflConfig(random_share=0.0, temperature=1e6)),
}
EXACT = [name for name in VARIANTS if not name.startswith(("power", "rpow", "oort"))]


def test_the_registry_is_what_the_schema_offers() -> None:
    choices = next(item for name, item in walk() if name == "selection.name").metadata["choices"]
    assert list(SELECTORS) == list(choices)


def test_an_unknown_selector_is_refused() -> None:
    with pytest.raises(InputError, match=r"'selection.name' is 'ort' \(did you mean 'oort'\?\); expected one of: unif"):
        make_selector(SelectionConfig(name="ort"))
    with pytest.raises(InputError, match=r"'selection.activity' is 'minutes'.*expected one of: utterances, seconds"):
        make_selector(SelectionConfig(name="activity", activity="minutes"))


class Own:
    """A selector of one's own."""

    def __init__(self, config: SelectionConfig) -> None:
        self.k = config.clients_per_round

    select = observe = state_dict = load_state_dict = print


def no_selector(config: SelectionConfig) -> int:
    return config.clients_per_round


def test_an_own_selector_by_its_reference() -> None:
    own = make_selector(SelectionConfig(name=f"{__name__}:Own", clients_per_round=7))
    assert isinstance(own, Own)
    assert own.k == 7
    with pytest.raises(InputError, match="makes no selector: it has no 'select'"):
        make_selector(SelectionConfig(name=f"{__name__}:no_selector"))


@st.composite
def tables(draw: st.DrawFn) -> Roster:
    """A roster with anything in its columns that may be there."""
    n = draw(st.integers(1, 30))
    counts = np.array(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)), np.int64)
    table = roster(counts.tolist())
    recent = np.minimum(counts, np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))))
    table.store(counts, counts * 2.0, recent, recent * 2.0)
    there = draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=n, max_size=n)))
    table.attend(None if there is None else np.array(there))
    losses = st.lists(st.sampled_from([np.nan, np.inf, 0.0, 0.5, 2.0]), min_size=n, max_size=n)
    table.last_loss[:] = draw(losses)
    table.tier[:] = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return table


@pytest.mark.thorough
@pytest.mark.parametrize("name", VARIANTS)
def test_laws(name: str) -> None:
    check_selector(VARIANTS[name])


@pytest.mark.thorough
@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=examples(40), deadline=None)
@given(table=tables(), k=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_laws_in_any_population(name: str, table: Roster, k: int, seed: int) -> None:
    chosen = None
    try:
        check_selector(VARIANTS[name], rosters={"drawn": table}, cohort=k, seed=seed, draws=0)
        chosen = VARIANTS[name]().select(1, table, k, rng(1, seed))
    except InputError:
        assert name == "threshold of 3"
        assert 0 < table.utterances.max(initial=0) < 3
        return
    if name not in ("poisson", "threshold of 3", "round-robin apart") and "replacement" not in name:
        assert len(chosen.clients) == min(k, len(table.selectable))
    if name in EXACT:
        assert np.isfinite(chosen.inverse_weights).all()
    else:
        assert np.isnan(chosen.probabilities).all()


COUNTS = [1, 2, 3, 4, 40, 0, 3]


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", EXACT)
def test_reported_probabilities_are_those_of_the_draws(name: str, k: int) -> None:
    """What each cohort reports for its members agrees, and is how often they are drawn; who is never drawn has zero."""
    table = roster(COUNTS)
    table.last_loss[:] = [1.0, np.nan, 0.5, 2.0, 0.1, np.nan, 1.0]
    drawn = draws(VARIANTS[name], table, k, 3000)
    expected = np.zeros(len(COUNTS))
    for selection in drawn:
        known = expected[selection.clients]
        np.testing.assert_allclose(known[known > 0], selection.probabilities[known > 0], rtol=1e-12)
        expected[selection.clients] = selection.probabilities
    assert p_value(indicators(drawn, len(COUNTS)), expected) > 1e-3


UNBIASED = [name for name in EXACT if name not in ("top-activity", "threshold of 3", "afl, greedy")]


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", UNBIASED)
def test_inverse_weights_make_the_sum_over_the_chosen_unbiased(name: str, k: int) -> None:
    """Horvitz–Thompson and Hansen–Hurwitz: E[Σ weight·x] is Σ x over all, whatever x is."""
    table = roster(COUNTS)
    table.last_loss[:] = [1.0, np.nan, 0.5, 2.0, 0.1, np.nan, 1.0]
    x = np.array([3.0, -1.0, 4.0, 1.0, -5.0, 100.0, 9.0])  # the sixth stores nothing and does not count
    sums = np.array([(s.inverse_weights * x[s.clients]).sum() for s in draws(VARIANTS[name], table, k, 4000)])
    error = sums.std() / np.sqrt(len(sums))
    assert sums.mean() == pytest.approx(x.sum() - 100.0, abs=4 * error + 1e-9)
    assert error < 1.0  # precise enough to tell


@pytest.mark.thorough
@pytest.mark.parametrize("name", SELECTORS)
def test_a_million_clients_of_whom_some_are_away(name: str) -> None:
    n = 1_000_000
    table = roster((np.arange(n) % 50).tolist())
    table.attend(np.arange(n) % 3 > 0)
    one = VARIANTS[name]()
    for round in (1, 2):
        chosen = one.select(round, table, 100, rng(round))
        ids = chosen.clients
        assert 50 < len(set(ids.tolist())) == len(ids) < 150
        assert (table.utterances[ids] > 0).all()
        assert (ids % 3 > 0).all()
        one.observe(feedback(round, ids.tolist(), [1.0] * len(ids)))
    assert len(json.dumps(one.state_dict())) < 20_000


def test_a_selector_that_asks_says_so() -> None:
    assert isinstance(PowerOfChoice(), Probing)
    for name in SELECTORS:
        assert isinstance(make_selector(SelectionConfig(name=name)), Probing) == (name == "power-of-choice")
