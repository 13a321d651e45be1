"""Compare the groups of one attribute: what ``fairness.json`` says of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.contrasts import rates
from fedasr.evaluation.fairness.gaps import Change, Estimate, Gap, change, extremes, gap
from fedasr.evaluation.fairness.power import Power, power
from fedasr.evaluation.fairness.regression import Adjusted, adjusted
from fedasr.evaluation.intervals import RESAMPLES, speaker_interval
from fedasr.typing import Floats

FEW_SPEAKERS = 10
"""Below this the intervals of simulated groups cover the truth clearly less often (``studies.fairness_coverage``)."""
MOST_GROUPS = 60
UNKNOWN = (math.nan, math.nan)


@dataclass(frozen=True)
class Outcomes:
    """What a model made of test speech; each array of shape ``(utterances,)``."""

    speakers: npt.NDArray[Any]
    words: npt.NDArray[np.int64]
    errors: npt.NDArray[np.int64]
    covariates: Mapping[str, Floats] = field(default_factory=dict)

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> Outcomes:
        """Return some of the utterances."""
        return Outcomes(
            self.speakers[rows],
            self.words[rows],
            self.errors[rows],
            {name: values[rows] for name, values in self.covariates.items()},
        )


def compare_groups(
    attribute: str,
    tested: Outcomes,
    values: npt.NDArray[Any],
    seed: int,
    shown: float,
    other: npt.NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return the WER of each group, the gap between them, and what it rests on, as JSON holds it.

    Args:
        attribute: what the groups are of, such as ``gender``.
        tested: the test speech.
        values: the group of each utterance, empty where it has none, shape ``(utterances,)``.
        seed: of the resamples.
        shown: the gap, a fraction, for which the speakers are counted that would show it.
        other: errors of another model on the same utterances; None: there is none.

    Raises:
        InputError: there are no two groups to compare.
    """
    labels = np.asarray(values).astype(str)
    known = labels != ""
    tested, labels = tested[known], labels[known]
    cells = Cells.of(tested.speakers, labels, tested.words, tested.errors)
    usable = eligible(attribute, cells)
    compared = cells.only(usable)
    several = bool((compared.counts > 1).all())
    between = gap(compared, seed) if several else bare_gap(compared)
    strength = power(compared, shown, between.worst, between.best, seed) if several else Power(shown, None, *UNKNOWN)
    regression = adjusted(labels, tested.speakers, tested.words, tested.errors, tested.covariates)
    result: dict[str, Any] = {
        "attribute": attribute,
        "utterances": len(labels),
        "speakers": len(cells.speakers),
        "without_value": int((~known).sum()),
        "one_group_a_speaker": cells.nested,
        "resamples": RESAMPLES,
        "seed": seed,
        "groups": group_rows(cells, compared, tested, labels, regression, seed),
        "gap": {**estimate(between.difference, "difference"), "worst": between.worst, "best": between.best},
        "ratio": estimate(between.ratio, "ratio"),
        "regression": document(regression),
        "power": {**asdict(strength), "power": 0.8},
    }
    if other is not None:
        if not several:
            raise InputError(
                f"two runs cannot be compared by '{attribute}': fewer than two groups have two test speakers or more"
            )
        theirs = Cells.of(tested.speakers, labels, tested.words, other[known]).only(usable)
        result["against"] = changes(change(compared, theirs, seed), between, gap(theirs, seed))
    result["warnings"] = warnings(result, cells, strength)
    return result


def eligible(attribute: str, cells: Cells) -> list[int]:
    """Return the groups whose gap is told: those of two speakers or more; where they are fewer than two, all.

    Raises:
        InputError: there are no two groups, too many, or each is one speaker.
    """
    names = cells.groups
    if not names:
        raise InputError(f"no utterance of the test speech has a value of '{attribute}'; expected two groups or more")
    if len(names) < 2:
        raise InputError(
            f"all of the test speech has '{attribute}' '{names[0]}'; expected two groups or more to compare"
        )
    if (cells.counts < 2).all():
        raise InputError(
            f"each of the {len(names)} values of '{attribute}' is of one test speaker; expected an attribute that"
            " speakers share, such as gender, or more test speakers"
        )
    spoken = np.flatnonzero(cells.words.sum(axis=0) > 0)
    if len(spoken) < 2:
        raise InputError(f"fewer than two values of '{attribute}' have words in the test speech")
    shared = spoken[cells.counts[spoken] > 1]
    usable: list[int] = (shared if len(shared) > 1 else spoken).tolist()
    if len(usable) > MOST_GROUPS:
        raise InputError(
            f"'{attribute}' has {len(usable)} values; expected at most {MOST_GROUPS} groups (numbers can be cut into"
            f" ranges: '{attribute}:16,60')"
        )
    return usable


def bare_gap(cells: Cells) -> Gap:
    """Return the gap without an interval: nothing is known of how speakers differ."""
    rate = cells.errors.sum(axis=0) / cells.words.sum(axis=0)
    worst, best = extremes(rate)
    ratio = float(rate[worst] / rate[best]) if rate[best] > 0 else math.nan
    return Gap(cells.groups[worst], cells.groups[best], Estimate(float(rate[worst] - rate[best])), Estimate(ratio))


def group_rows(
    cells: Cells,
    compared: Cells,
    tested: Outcomes,
    labels: npt.NDArray[Any],
    regression: Adjusted | str,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return what is known of each group, by its name."""
    spreads: dict[str, float] = {}
    if (compared.counts > 1).all():
        spread = np.sqrt(np.diag(rates(compared, seed).covariance) * compared.counts)
        spreads = dict(zip(compared.groups, spread.tolist(), strict=True))
    ratios: dict[str, Estimate] = {}
    if not isinstance(regression, str):
        ratios = {**regression.ratios, regression.reference: Estimate(1.0, 1.0, 1.0)}
    rows = {}
    for place, name in enumerate(cells.groups):
        of = labels == name
        words, errors = int(cells.words[:, place].sum()), int(cells.errors[:, place].sum())
        interval = speaker_interval(tested.speakers[of], tested.words[of], tested.errors[of], seed, name)
        rows[name] = {
            "wer": errors / words if words else math.nan,
            "low": interval.low,
            "high": interval.high,
            "speakers": interval.speakers,
            "utterances": int(of.sum()),
            "words": words,
            "errors": errors,
            "spread": spreads.get(name, math.nan),
            "adjusted": estimate(ratios.get(name, Estimate(math.nan)), "ratio"),
        }
    return rows


def estimate(given: Estimate, name: str) -> dict[str, float]:
    """Return an estimate as JSON holds it."""
    return {name: given.value, "low": given.low, "high": given.high}


def document(regression: Adjusted | str) -> dict[str, Any]:
    """Return a regression as JSON holds it; its ratios are those of the groups."""
    if isinstance(regression, str):
        return {"reason": regression}
    return {
        "reference": regression.reference,
        "p_value": regression.p_value,
        "sigma": regression.sigma,
        "dispersion": regression.dispersion,
        "covariates": {name: estimate(value, "ratio") for name, value in regression.covariates.items()},
        "left_out": regression.left_out,
    }


def changes(differences: Change, own: Gap, theirs: Gap) -> dict[str, Any]:
    """Return the differences from another model as JSON holds them."""
    return {
        "groups": {name: estimate(value, "difference") for name, value in differences.groups.items()},
        "gap": {**estimate(differences.gap, "difference"), "worst": differences.worst, "best": differences.best},
        "gaps": [own.difference.value, theirs.difference.value],
    }


def warnings(result: Mapping[str, Any], cells: Cells, strength: Power) -> list[str]:
    """Return what a reader must know to trust the numbers, a sentence each."""
    attribute, notes = result["attribute"], []
    if result["without_value"]:
        notes.append(f"{result['without_value']} utterances have no value of '{attribute}' and are left out")
    counts = dict(zip(cells.groups, cells.counts.tolist(), strict=True))
    if single := [f"'{name}'" for name, count in counts.items() if count < 2]:
        alone = "has no interval, nor has the gap" if math.isnan(strength.smallest) else "is not in the gap"
        notes.append(f"a group of one speaker {alone}: {', '.join(single)}")
    if few := [f"'{name}' ({count})" for name, count in counts.items() if 2 <= count < FEW_SPEAKERS]:
        notes.append(f"fewer than {FEW_SPEAKERS} speakers, whose intervals may be too narrow: {', '.join(few)}")
    if not cells.nested and (cells.utterances == 0).any():
        notes.append("some speakers are in several groups; whole speakers are drawn from all groups together")
    if silent := [f"'{name}'" for name, row in result["groups"].items() if not row["errors"]]:
        notes.append(f"no errors, so no ratio: {', '.join(silent)}")
    if not math.isnan(strength.smallest) and not result["gap"]["low"] > 0:
        notes.append(
            "no two groups are told apart; the speakers of the worst and the best one would show a gap of"
            f" {100 * strength.smallest:.1f} points or more in four of five tests"
        )
    if reason := result["regression"].get("reason"):
        notes.append(f"no adjusted ratios: {reason}")
    return notes
