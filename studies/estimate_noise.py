"""How many devices an estimate with noise needs: what its interval covers, and how wide it is.

    python -m studies.estimate_noise --devices 1000 10000 --noise 0 2 8

Fleets are simulated, not decoded: speakers of 15 to 89 words, 25 % errors, of which devices expect 70 %, and a panel of
a tenth, whose users have transcribed all their words. ``words`` is 100. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedasr import seeds
from fedasr.evaluation.drift import expected_rate
from fedasr.evaluation.prediction_powered import Estimate, estimated
from fedasr.evaluation.private_sums import PrivateSums
from fedasr.evaluation.secure_sums import ALL, Count
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import Gaussian
from studies.tables import grid

TRUTH, TRUST = 0.25, 0.7
"""The error rate, and the share of the errors that devices expect."""
WORDS, PANEL, DELTA = 100, 0.1, 1e-5


class Survey(NamedTuple):
    """What a server makes of a fleet's noisy sums."""

    estimate: Estimate
    expected_wer: float


def survey(seed: int, noise_multiplier: float, devices: int, panel: int) -> Survey:
    """Return what noisy sums of a fleet say.

    Args:
        seed: of the fleet and the noise.
        noise_multiplier: standard deviation of the noise over the sensitivity.
        devices: how many there are.
        panel: how many of them are the panel.
    """
    rng = seeds.generator(seed, "estimate-noise/fleet")
    words = rng.integers(15, 90, devices).astype(float)
    errors = rng.binomial(words.astype(int), rng.beta(2, 6, devices)).astype(float)
    expected = np.clip(errors / words + rng.normal(0, 0.05, devices), 0, 1) * TRUST
    heard = words * rng.uniform(0.8, 1.05, devices)
    rows = np.column_stack([errors, words, expected * heard, heard])
    told = [{ALL: Count(True, row)} for row in rows[:panel].tolist()]
    told += [{ALL: Count(False, row)} for row in rows[panel:, 2:].tolist()]
    sums = PrivateSums([], WORDS)
    exact, scale = sums.summed(told), noise_multiplier * sums.sensitivity
    noisy = sums.noisy(exact, sums.weighed(exact) + rng.normal(0, scale, len(sums.weights)), scale)[ALL]
    return Survey(estimated(noisy.fleet, noisy.panel), expected_rate(noisy.fleet, noisy.panel).value)


def row(noise_multiplier: float, devices: int, repeats: int) -> list[str]:
    """Return ε of one and of ten estimates, and over the fleets the coverage, the width, and what noise hides."""
    results = [survey(seed, noise_multiplier, devices, round(PANEL * devices)) for seed in range(repeats)]
    spent = ["no ε"] * 2
    if noise_multiplier:
        event = Gaussian(unit="user", noise_multiplier=noise_multiplier)
        spent = [f"{epsilon_of([event.times(count)], DELTA).epsilon:.2f}" for count in (1, 10)]
    there = [result.estimate for result in results if not np.isnan(result.estimate.wer)]
    covered = f"{np.mean([each.low <= TRUTH <= each.high for each in there]):.0%}" if there else "none"
    width = f"{np.mean([each.high - each.low for each in there]):.3f}" if there else "none"
    spread = f"{np.std([result.expected_wer for result in results]):.4f}"
    return [f"{devices:,}", f"{noise_multiplier:g}", *spent, f"{len(there)} of {repeats}", covered, width, spread]


def markdown(devices: Sequence[int], noise: Sequence[float], repeats: int) -> str:
    """Return the table."""
    head = (
        "devices",
        "`noise_multiplier`",
        "ε of one estimate",
        "ε of ten",
        "estimates that noise leaves",
        "their interval covers the truth",
        "its width",
        "spread of `expected_wer`",
    )
    return grid(head, [row(noise_multiplier, count, repeats) for count in devices for noise_multiplier in noise])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 2.0, 8.0])
    parser.add_argument("--repeats", type=int, default=100, help="fleets of each kind")
    given = parser.parse_args()
    print(markdown(given.devices, given.noise, given.repeats))


if __name__ == "__main__":
    main()
