"""How often a bound is above the truth, and how often a right ledger is contradicted.

python -m studies.audit_coverage [--seeds 300] [--effort 0.15] --out docs/results/audit_coverage.md
python -m studies.audit_coverage --only "users, estimates" "votes, gnmax"
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import beta

from fedasr.audits.finding import alarmed, number
from fedasr.privacy.accountants import calibrate, settled
from fedasr.privacy.audit import scores
from fedasr.privacy.audit.bounds import gaussian_dp, gaussian_t, pointwise
from fedasr.privacy.audit.contradiction import contradicts
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.audit.one_run import f_dp_one_run, guesses, one_run
from fedasr.privacy.audit.result import Bound
from fedasr.privacy.events import Event, Gaussian, PoissonGaussian
from fedasr.typing import Floats
from studies.audit_worlds import mechanisms

DELTA, ALPHA, CANARIES = 1e-5, 0.05, 1000
GUESSED = 0.2
"""Share of the canaries that the one-run bounds guess, fixed beforehand."""
ROUNDS, PROBABILITY, HELD_OUT = 30, 0.1, 20_000
"""Of the runs with Poisson sampling."""
Pair = tuple[Floats, Floats]
Rows = Iterator[Sequence[str]]


def of_one_run(bound: Callable[..., Bound], inside: Floats, outside: Floats, delta: float) -> Bound:
    """Return a bound of guesses, of a share that is fixed beforehand."""
    return bound(len(inside) + len(outside), *guesses(inside, outside, GUESSED), delta, ALPHA)


BOUNDS: dict[str, Callable[[Floats, Floats, float], Bound]] = {
    "pointwise": partial(pointwise, alpha=ALPHA),
    "one run": partial(of_one_run, one_run),
    "f-DP one run": partial(of_one_run, f_dp_one_run),
    "Gaussian DP": partial(gaussian_dp, alpha=ALPHA),
    "Gaussian t": partial(gaussian_t, alpha=ALPHA),
}


def gaussian(z: float) -> list[Event]:
    """Return the ledger of one release with Gaussian noise."""
    return [Gaussian(unit="user", noise_multiplier=z)]


def sampled(z: float) -> list[Event]:
    """Return the ledger of a run with Poisson sampling."""
    return [PoissonGaussian(unit="user", noise_multiplier=z, sampling_probability=PROBABILITY, steps=ROUNDS)]


def released(mean: float, seed: int, canaries: int = CANARIES) -> Pair:
    """Return scores of canaries that fair coins put in or left out, with unit noise."""
    rng = np.random.default_rng(seed)
    coins = rng.random(canaries) < 0.5
    values = rng.standard_normal(canaries) + mean * coins
    return values[coins], values[~coins]


def halves(mean: float, seed: int, canaries: int = CANARIES) -> Pair:
    """Return scores of canaries of which exactly half are in, with unit noise."""
    values = np.random.default_rng(seed).standard_normal(canaries)
    values[: canaries // 2] += mean
    return values[: canaries // 2], values[canaries // 2 :]


def run(z: float, inserted: int, seed: int, noise: float = 1.0, length: float = 1.0) -> Pair:
    """Return scores of canary users over a run with Poisson sampling, whose noise and length may not be the claimed."""
    rng = np.random.default_rng(seed)
    products = noise * z * rng.standard_normal((ROUNDS, inserted + HELD_OUT))
    products[:, :inserted] += length * (rng.random((ROUNDS, inserted)) < PROBABILITY)
    values = scores.poisson(products, z, PROBABILITY)
    return values[:inserted], values[inserted:]


def at_least(hits: int, trials: int) -> str:
    """Return hits of trials, and the probability that they show with 95 % confidence."""
    low = float(beta.ppf(ALPHA, hits, trials - hits + 1)) if hits else 0.0
    return f"{hits} of {trials}, ≥ {100 * low:.1f} %"


def bounds(seeds: int) -> Rows:
    """Yield how each bound does at each claim."""
    for name, bound in BOUNDS.items():
        draw = halves if name == "Gaussian t" else released
        cells = [name]
        for epsilon in (0.0, 1.0, 4.0, 8.0):
            mean = 0.0 if epsilon == 0 else 1.0 / calibrate(gaussian, epsilon, DELTA, "pld", 1e-4)
            values = np.array([bound(*draw(mean, seed), DELTA).epsilon for seed in range(seeds)])
            cells += [at_least(int((values <= epsilon + 1e-9).sum()), seeds)]
            cells += [f"{np.median(values):.2f}"] if epsilon else []
        yield cells


def faults(seeds: int) -> Rows:
    """Yield how often the ledger test sees a fault, and how often it alarms without one."""
    for epsilon, inserted in ((1.0, 1000), (2.0, 200), (4.0, 200)):
        z = calibrate(sampled, epsilon, DELTA, "pld", 1e-3)
        curve = curve_of(sampled(z))
        for name, noise, length in (("none", 1.0, 1.0), ("noise halved", 0.5, 1.0), ("sensitivity doubled", 1.0, 2.0)):
            hits = sum(contradicts(*run(z, inserted, seed, noise, length), curve, ALPHA) for seed in range(seeds))
            about = f"Poisson, {ROUNDS} rounds, q = {PROBABILITY:g}"
            yield about, f"{epsilon:g}", f"{inserted} + {HELD_OUT:,}", name, f"{hits} of {seeds}"
    z = calibrate(gaussian, 8.0, DELTA, "pld", 1e-4)
    curve = curve_of(gaussian(z))
    for name, noise in (("none", 1.0), ("noise / √2", 2**-0.5)):
        hits = sum(contradicts(*halves(1 / z / noise, seed), curve, ALPHA) for seed in range(seeds))
        yield "one release", "8", "500 + 500", name, f"{hits} of {seeds}"


def shipped(seeds: int, effort: float, only: Sequence[str] = ()) -> Rows:
    """Yield how often the ledger of each shipped mechanism is contradicted, by its own code.

    Args:
        seeds: how many are tried.
        effort: share of the usual number of scores.
        only: names of mechanisms; all where there are none.
    """
    for name, attack, base in (each for each in mechanisms() if not only or each[0] in only):
        small = replace(base, effort=effort)
        right, boastful = 0, 0
        for seed in range(seeds):
            values = attack(replace(small, seed=seed))
            right += alarmed(values, ALPHA)
            boastful += alarmed(values, ALPHA, noise=2.0)
        claim = settled(list(values.claim(1.0)), DELTA, values.accountant).epsilon
        count = f"{len(values.inside):,} + {len(values.outside):,}"
        yield name, number(claim, up=True), count, at_least(seeds - right, seeds), f"{boastful} of {seeds}"


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a table of Markdown, which is also printed as it grows."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    print("\n".join(lines), flush=True)
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--effort", type=float, default=0.15)
    parser.add_argument("--only", nargs="+", metavar="MECHANISM", help="print the rows of these alone")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    head_of_shipped = (
        "mechanism",
        "ε claimed",
        "scores",
        "not contradicted",
        "contradicted where twice the noise is claimed",
    )
    if given.only:
        table(head_of_shipped, shipped(given.seeds, given.effort, given.only))
        return
    head = ["bound", "no leak: bound 0"]
    head += [cell for epsilon in (1, 4, 8) for cell in (f"ε = {epsilon}: bound ≤ ε", "median")]
    tables = (
        table(head, bounds(given.seeds)),
        table(("", "ε claimed", "scores", "fault", "contradicted"), faults(given.seeds)),
        table(head_of_shipped, shipped(given.seeds, given.effort)),
    )
    if given.out:
        given.out.write_text(page(given.seeds, given.effort, *tables))


def page(seeds: int, effort: float, first: str, second: str, third: str) -> str:
    """Return the page of results."""
    return f"""# Do the bounds hold?

```
python -m studies.audit_coverage --seeds {seeds} --effort {effort:g} --out docs/results/audit_coverage.md
```

Every bound and alarm here has an error probability of 5 %, and may fail in 5 % of the seeds. δ = 1e-5. "≥" is what the
count shows with 95 % confidence (Clopper and Pearson).

## Lower bounds on ε of one Gaussian release

{CANARIES:,} canaries, each in or out by a fair coin (Gaussian t: exactly half of them). The one-run bounds guess
{100 * GUESSED:g} % of them. The noise is exactly that of the ε.

{first}

## Faults that the ledger test sees

Canary users, of whom the attacker does not know in which rounds they take part.

{second}

## The ledger of every shipped mechanism

Each is the code that runs, in a small world, with {100 * effort:g} % of the scores that `fedasr audit mechanism` draws
of it (canary users over whole runs: all). A right ledger is contradicted in 5 % of the seeds at most; that the lower
bound is above the claim is the same event. The last column is the power: the same scores against a ledger that claims
twice the noise. Few scores have little: see the [audit at full size](audit_mechanism.md), and the
[faults it finds](../audits.md#which-faults-it-finds).

{third}
"""


if __name__ == "__main__":
    main()
