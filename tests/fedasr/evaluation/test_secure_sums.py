"""Counts of an estimate as whole numbers: their sums are those of the rounded counts, exactly, and nothing wraps."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.evaluation.prediction_powered import Sums, estimated
from fedasr.evaluation.secure_sums import ROOM, STEPS, Count, CountCoder
from fedasr.secure.modulus import Residues

ALL, WELSH = "", '["accent", "welsh"]'
FLEET = [(1.5, 10.0), (0.25, 3.0), (2.3, 7.1)]
PANEL = [(2.0, 8.0, 1.75, 8.5), (0.0, 4.0, 0.3, 4.2)]


def steps(values: tuple[float, ...]) -> list[float]:
    return [round(STEPS * value) / STEPS for value in values]


def total(coder: CountCoder, devices: list[dict[str, Count]]) -> Residues:
    return np.sum([coder.encode(counts) for counts in devices], axis=0, dtype=np.uint64)  # type: ignore[no-any-return]


def test_the_sums_are_those_of_the_rounded_counts() -> None:
    coder = CountCoder([ALL, WELSH], words=500, devices=5)
    devices = [{ALL: Count(False, values)} for values in FLEET]
    devices += [{ALL: Count(True, values, 4, (1, 9)), WELSH: Count(True, values, 4)} for values in PANEL]
    groups, shortened = coder.decode(total(coder, devices), 5)
    fleet, panel = Sums.of([steps(values) for values in FLEET]), Sums.of([steps(values) for values in PANEL])
    for found, expected in ((groups[ALL].fleet, fleet), (groups[ALL].panel, panel), (groups[WELSH].panel, panel)):
        assert found.speakers == expected.speakers
        np.testing.assert_array_equal(found.first, expected.first)
        np.testing.assert_array_equal(found.second, expected.second)
    assert (groups[ALL].spoken, groups[ALL].truth, groups[WELSH].fleet.speakers, shortened) == (8, (2, 18), 0, 0)
    assert estimated(groups[ALL].fleet, groups[ALL].panel) == estimated(fleet, panel)
    assert estimated(fleet, panel).wer == pytest.approx(estimated(Sums.of(FLEET), Sums.of(PANEL)).wer, rel=1e-3)


def test_a_message_has_one_length_whatever_its_device_holds() -> None:
    coder = CountCoder([ALL, WELSH], words=20, devices=3)
    lengths = {
        len(coder.encode(counts)) for counts in ({}, {ALL: Count(False, (1, 2))}, {WELSH: Count(True, (1,) * 4)})
    }
    assert lengths == {coder.length}


@pytest.mark.parametrize(("words", "devices"), [(1, 2), (500, 1000), (500, 1_000_000), (100_000, 1_000_000)])
def test_nothing_wraps_where_all_devices_count_the_most(words: int, devices: int) -> None:
    coder, most = CountCoder([ALL], words, devices), float(ROOM * words)
    whole = [devices * int(number) for number in coder.encode({ALL: Count(True, (most,) * 4, words)})]
    assert max(whole) < 2**64
    groups, shortened = coder.decode(np.array(whole, np.uint64), devices)
    assert groups[ALL].panel.first.tolist() == [devices * most] * 4
    assert groups[ALL].panel.second.tolist() == [[devices * most**2] * 4] * 4
    assert (groups[ALL].panel.speakers, groups[ALL].spoken, shortened) == (devices, devices * words, 0)


def test_counts_are_rounded_more_coarsely_before_they_would_wrap() -> None:
    assert [CountCoder([ALL], *given).steps for given in ((500, 10**6), (20_000, 1000), (10**5, 10**6))] == [
        *(STEPS, STEPS, 8)
    ]
    with pytest.raises(InputError, match=r"'evaluate\.estimate\.words' is 10000000: products of such counts cannot"):
        CountCoder([ALL], 10**7, 10**6)


def test_larger_counts_are_scaled_down_alike_and_it_is_said() -> None:
    coder = CountCoder([ALL], words=10, devices=2)
    groups, shortened = coder.decode(total(coder, [{ALL: Count(False, (20.0, 80.0))}]), 1)
    assert groups[ALL].fleet.first.tolist() == [10.0, 40.0]
    assert shortened == 1


def test_the_group_of_nobody_is_left_out_and_nonsense_is_refused() -> None:
    coder = CountCoder([ALL, WELSH], words=10, devices=2)
    sent = coder.encode({ALL: Count(False, (1.0, 2.0))})
    assert list(coder.decode(sent, 1)[0]) == [ALL]
    with pytest.raises(ValueError, match="the sum counts 1 devices, and 2 have sent their counts"):
        coder.decode(sent, 2)
    sent[3] -= np.uint64(2**40)
    with pytest.raises(ValueError, match="the sum is larger than the counts of 1 devices can be"):
        coder.decode(sent, 1)
