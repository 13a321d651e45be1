"""How often intervals of groups, gaps, adjusted ratios and rank correlations contain the truth, where it is known.

python -m studies.fairness_coverage [--trials 500] --out docs/results/fairness_coverage.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedasr import seeds
from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.contrasts import rates
from fedasr.evaluation.fairness.gaps import gap
from fedasr.evaluation.fairness.regression import Adjusted, adjusted
from fedasr.evaluation.intervals import speaker_interval
from fedasr.results.tables.voice_measures import correlate
from fedasr.typing import Integers
from studies.tables import grid

RATE, WORDS = 0.15, 6
"""Word error rate of a speaker in the mean, and words an utterance."""
UTTERANCES = (5, 16)
"""Of a speaker, drawn evenly; the upper end is not reached."""
SPEAKERS = (5, 10, 20, 40)
FEWER = {"gaps": 2, "ratios": 5}
"""Their trials take longer, and are this part of them."""
CORRELATIONS, MODELS = (0.0, 0.5, 0.9), (6, 8, 12, 20)
RANK_HEAD = ("rank correlation", *(f"{count} models" for count in MODELS))
SPREADS = (0.5, 1.0)
"""Standard deviations of the logarithm of a speaker's rate."""
GAPS = {
    "10 + 10 speakers, alike": ((10, 10), (1.0, 1.0)),
    "10 + 10 speakers, 15 % and 25 %": ((10, 10), (1.0, 5 / 3)),
    "5 + 30 speakers, 15 % and 25 %": ((5, 30), (1.0, 5 / 3)),
    "six groups of 10 speakers, alike": ((10,) * 6, (1.0,) * 6),
    "six groups of 20 speakers, 10 % to 20 %": ((20,) * 6, (2 / 3, 0.8, 1.0, 1.0, 4 / 3, 4 / 3)),
}


class Speech(NamedTuple):
    """Utterances; each array of shape ``(utterances,)``."""

    speakers: Integers
    groups: Integers
    words: Integers
    errors: Integers


def drawn(
    rng: np.random.Generator, counts: Sequence[int], times: Sequence[float], spread: float = 0.5, clump: int = 1
) -> Speech:
    """Return speech of groups.

    Args:
        rng: of all draws.
        counts: speakers of each group.
        times: the rate of each group, in ``RATE``.
        spread: between speakers.
        clump: errors that come together.
    """
    group = np.repeat(np.arange(len(counts)), counts)
    rate = RATE * np.array(times)[group] * np.exp(spread * rng.standard_normal(len(group)) - spread**2 / 2)
    speakers = np.repeat(np.arange(len(group)), rng.integers(*UTTERANCES, len(group)))
    words = np.full(len(speakers), WORDS)
    return Speech(speakers, group[speakers], words, clump * rng.poisson(words * rate[speakers] / clump))


def one_group(trials: int) -> Iterator[list[str]]:
    """Yield how often the intervals of one group contain its rate."""
    for spread in SPREADS:
        for count in SPEAKERS:
            rng = seeds.generator(0, f"coverage/{spread}", client=count)
            hits = np.zeros(3)
            for trial in range(trials):
                speech = drawn(rng, (count,), (1.0,), spread)
                one = speaker_interval(speech.speakers, speech.words, speech.errors, trial)
                cells = Cells.of(*speech)
                plain = np.quantile(rates(cells, trial).draws[:, 0], (0.025, 0.975))
                result = speech.errors.sum() / speech.words.sum()
                half = 1.96 * np.sqrt(((speech.errors - result * speech.words) ** 2).sum()) / speech.words.sum()
                ends = ((one.low, one.high), plain, (result - half, result + half))
                hits += [low <= RATE <= high for low, high in ends]
            yield [f"{spread:g}", str(count), *(share(hit, trials) for hit in hits)]


def gaps(trials: int) -> Iterator[list[str]]:
    """Yield how often the intervals of the gap, and of the ratio, contain the largest one, and the plain bootstrap."""
    for name, (counts, times) in GAPS.items():
        rng = seeds.generator(0, f"coverage/{name}")
        difference, ratio = RATE * (max(times) - min(times)), max(times) / min(times)
        hits = np.zeros(3)
        for trial in range(trials):
            cells = Cells.of(*drawn(rng, counts, times))
            result = gap(cells, trial)
            low, high = np.quantile(np.ptp(rates(cells, trial).draws, axis=1), (0.025, 0.975))
            hits += [
                result.difference.low <= difference <= result.difference.high,
                result.ratio.low <= ratio <= result.ratio.high,
                low <= difference <= high,
            ]
        yield [name, *(share(hit, trials) for hit in hits)]


def ratios(trials: int) -> Iterator[list[str]]:
    """Yield how often the interval of the adjusted ratio contains 1 between groups that are alike."""
    for count in (10, 20):
        for clump in (1, 3):
            rng = seeds.generator(0, f"coverage/ratio/{clump}", client=count)
            hits = fitted = 0
            for _ in range(trials):
                speech = drawn(rng, (count, count), (1.0, 1.0), clump=clump)
                result = adjusted(speech.groups, speech.speakers, speech.words, speech.errors, {})
                if isinstance(result, Adjusted):
                    (one,) = result.ratios.values()
                    fitted += 1
                    hits += one.low <= 1 <= one.high
            yield [f"{count} + {count}", str(clump), share(hits, fitted)]


def ranks(trials: int) -> Iterator[list[str]]:
    """Yield how often the interval of a rank correlation over models contains it, of two normal measures."""
    for correlation in CORRELATIONS:
        truth = 6 / np.pi * np.arcsin(correlation / 2)
        shares = []
        for count in MODELS:
            rng = seeds.generator(0, f"coverage/ranks/{correlation}/{count}")
            names = pd.Series([str(number) for number in range(count)])
            hits = 0
            for _ in range(trials):
                first, noise = rng.standard_normal((2, count))
                found = correlate(first, correlation * first + np.sqrt(1 - correlation**2) * noise, names)
                hits += found["low"] <= truth <= found["high"]
            shares.append(share(hits, trials))
        yield [f"{truth:.2f}", *shares]


def share(hits: float, trials: int) -> str:
    """Return a share in percent."""
    return f"{100 * hits / trials:.1f}"


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    group_head = ("spread", "speakers", "`fedasr fairness`", "plain percentile", "utterances as independent")
    gap_head = ("groups", "gap", "ratio", "plain bootstrap of max − min")
    tables = (
        grid(group_head, list(one_group(given.trials))),
        grid(gap_head, list(gaps(given.trials // FEWER["gaps"]))),
        grid(("speakers", "errors in a clump", "adjusted ratio"), list(ratios(given.trials // FEWER["ratios"]))),
        grid(RANK_HEAD, list(ranks(given.trials))),
    )
    text = page(given.trials, *tables)
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text, encoding="utf-8")


def page(trials: int, first: str, second: str, third: str, fourth: str) -> str:
    """Return the page of results."""
    errors = [100 * np.sqrt(0.95 * 0.05 / (trials // part)) for part in (1, FEWER["gaps"], FEWER["ratios"])]
    return f"""# Do the intervals of groups hold?

```
python -m studies.fairness_coverage --trials {trials} --out docs/results/fairness_coverage.md
```

How often, in per cent of trials, a 95 % interval of [`fedasr fairness`](../fairness.md) contains the truth: {trials:,}
trials of a group, {trials // FEWER["gaps"]} of a gap and {trials // FEWER["ratios"]} of an adjusted ratio. The standard
errors of a share of 95 % are {errors[0]:.1f}, {errors[1]:.1f} and {errors[2]:.1f} points. A speaker says
{UTTERANCES[0]} to {UTTERANCES[1] - 1} utterances of {WORDS} words, and has a log-normal error rate around that of the
group, which is {100 * RATE:g} % unless said otherwise.

## The WER of one group

Spread is the standard deviation of the logarithm of a speaker's rate. `fedasr fairness` takes the wider of the expanded
percentile interval and of Student's t of the logarithm; beside it the plain percentile interval over speakers, and one
that takes utterances as independent. At spread 1 a fifth of the speakers makes more than half of the errors: whoever
draws 20 speakers mostly misses the worst ones, and all three intervals fall short.

{first}
## The gap between the worst and the best group

The groups are picked on the same speech. The spread is 0.5. The plain bootstrap of max − min never contains a gap of
nothing.

{second}
## The adjusted ratio of two groups that are alike

The spread is 0.5.

{third}
## The rank correlation of two measures over models

Both measures are normal, and every model is independent of the others. An interval is over models, and is told for six
and more.

{fourth}"""


if __name__ == "__main__":
    main()
