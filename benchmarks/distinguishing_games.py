"""The distinguishing game against every noise that an ε rests on, beside the samplers that lose it.

    python -m benchmarks.distinguishing_games --out docs/results/distinguishing_games.md

A coin decides whether one utterance (user, teacher) takes part. The adversary knows everything but the coin and the
noise: all others, the model, the mechanism, the sampler. It subtracts both hypotheses from what is released and guesses
by one of two rules: *likelihood*, the nearer hypothesis, the best that theory allows; or *lattice*, the hypothesis
whose rest the sampler can have drawn. With ε true, no rule is right more often than the ceiling of the mechanism.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Message, MetricRecord, RecordDict
from scipy.stats import beta, norm

from fedasr.clients.mods.device_noise import protect
from fedasr.config import load
from fedasr.config.schema import ClientConfig, ModelConfig
from fedasr.data.batches import Batch
from fedasr.flower.messages import assume_identity
from fedasr.flower.records import array_record, arrays_of
from fedasr.models.factory import build_model
from fedasr.models.weights import Layout, model_arrays
from fedasr.privacy import dpsgd
from fedasr.privacy.gradients.bookkeeping import BookKeeper
from fedasr.privacy.gradients.clipping import Flat
from fedasr.privacy.pate.noise import LAPLACE, from_fixed, noise_generator, noisy, to_fixed
from fedasr.privacy.randomness import Randomness
from fedasr.seeds import torch_scope
from fedasr.strategies.aggregation.exact_mean import ExactMean
from fedasr.strategies.privacy.user_level import UserLevel
from fedasr.training.local import Resident
from fedasr.typing import Floats

Release = Callable[[bool], Floats]
"""Plays one round, with the one in question or without, and returns what is released."""

UTTERANCES, FRAMES, MEL, TOKENS, SPREAD = 20, 24, 40, 29, 1.0
MODEL = ModelConfig(encoder="lstm", norm="none", channels=[48, 64], strides=[2, 1], hidden=64)
"""Of 50,253 parameters."""
CLASSES = 24


@dataclass(frozen=True)
class Game:
    """A mechanism as the adversary sees it."""

    name: str
    release: Release
    without: Floats
    """what would be released without noise and without the one in question"""
    with_it: Floats
    scale: float
    """of the noise in what is released"""
    ceiling: float
    """how often the best rule is right, at most"""
    laplace: bool = False


def torch_lattice(rest: Floats, scale: float) -> float:
    """Return how far a rest is from what torch's normals in float32 can be: about 0 on their lattice, 0.25 off it.

    They come in blocks of 16 by Box and Muller from uniform numbers of 24 bits, eight radii and eight angles.
    The squared length of a pair gives the radius's number, a multiple of 2⁻²⁴; small ones are exact enough to be seen.
    """
    pairs = (rest[: len(rest) // 16 * 16] / scale).reshape(-1, 2, 8)
    uniform = np.exp(-0.5 * np.square(pairs).sum(1)).ravel()
    seen = uniform[uniform < 0.003] * 2.0**24
    return float(np.abs(seen - np.rint(seen)).mean()) if len(seen) else 0.25


def laplace_lattice(released: Floats, hypothesis: Floats, scale: float) -> float:
    """Return the share of doubles that hypothesis plus one of NumPy's Laplace numbers cannot be.

    Those are logarithms of multiples of 2⁻⁵²; whether one of them gives exactly the double is tried out.
    """
    rest = released - hypothesis
    near = np.rint(np.exp(-np.abs(rest) / scale) * 2.0**52)
    result = np.zeros(len(rest), bool)
    for step in range(-4, 5):
        tried = np.maximum(near + step, 1.0) * 2.0**-52
        result |= hypothesis + np.sign(rest) * -scale * np.log(tried) == released
    return float(1 - result.mean())


def guess(game: Game, released: Floats, rule: str, rng: np.random.Generator) -> bool:
    """Return the adversary's guess: whether the one in question took part."""
    rests = [released - game.without, released - game.with_it]
    if rule == "likelihood":
        costs = [float(np.abs(rest).sum() if game.laplace else rest @ rest) for rest in rests]
    elif game.laplace:
        costs = [laplace_lattice(released, hypothesis, game.scale) for hypothesis in (game.without, game.with_it)]
    else:
        costs = [torch_lattice(rest, game.scale) for rest in rests]
    return bool(rng.random() < 0.5) if costs[0] == costs[1] else costs[1] < costs[0]


def play(game: Game, trials: int, rng: np.random.Generator) -> dict[str, int]:
    """Return how often each rule was right."""
    right = {"likelihood": 0, "lattice": 0}
    for _ in range(trials):
        coin = bool(rng.random() < 0.5)
        released = game.release(coin)
        for rule in right:
            right[rule] += guess(game, released, rule, rng) == coin
    return right


def at_least(right: int, trials: int, confidence: float = 0.999) -> float:
    """Return the lower end of the interval of Clopper and Pearson for the probability to be right."""
    return float(beta.ppf((1 - confidence) / 2, right, trials - right + 1)) if right else 0.0


def at_most(right: int, trials: int, confidence: float = 0.999) -> float:
    """Return the upper end."""
    return float(beta.ppf(1 - (1 - confidence) / 2, right + 1, trials - right)) if right < trials else 1.0


def gaussian_ceiling(z: float) -> float:
    """Return how often the best rule is right about a Gaussian mechanism of sensitivity 1 over z."""
    return float(norm.cdf(0.5 / z))


def speech(rows: list[int]) -> Batch:
    """Return some of the utterances."""
    with torch_scope(0, "games"):
        features = torch.randn(UTTERANCES, FRAMES, MEL)
        targets = torch.randint(1, TOKENS, (UTTERANCES, 4))
    index, count = torch.tensor(rows), len(rows)
    lengths = torch.full((count,), FRAMES)
    return Batch(features[index], lengths, targets[index], torch.full((count,), 4), 1.0, tuple(rows))


def training(z: float, steps: int) -> dpsgd.PrivateState:
    """Return DP-SGD at its start; a learning rate of 0 lets it play the same step again and again."""
    with torch_scope(1, "games"):
        resident = Resident(build_model(MODEL, MEL, TOKENS))
    settings = dpsgd.PrivateTraining(Flat(1.0), (z,) * steps, 1.0, UTTERANCES)
    where = dpsgd.Where(Randomness.secret(), 1, 0)
    arrays = model_arrays(resident.model)
    config = ClientConfig(optimizer="sgd", clip_norm=None)
    return dpsgd.init(BookKeeper(resident.model), resident, arrays, config, 0.0, settings, where)


def sums() -> dict[bool, tuple[Batch, Floats]]:
    """Return the batch and the sum of clipped gradients, without and with the one in question."""
    result = {}
    for present in (False, True):
        state, batch = training(0.0, 1), speech(list(range(UTTERANCES if present else UTTERANCES - 1)))
        dpsgd.step(state, [batch])
        result[present] = batch, state.resident.gradient.double().numpy() * UTTERANCES
    return result


def dp_sgd(z: float, trials: int) -> Game:
    """Return the game against a step of DP-SGD, its real functions throughout."""
    known, state = sums(), training(z, trials)

    def release(present: bool) -> Floats:
        dpsgd.step(state, [known[present][0]])
        return state.resident.gradient.double().numpy() * UTTERANCES

    return Game("DP-SGD, a step", release, known[False][1], known[True][1], z, gaussian_ceiling(z))


def dp_sgd_in_float32(z: float) -> Game:
    """Return the same with the sampler that it had: torch's normals, added in float32."""
    known = {present: total for present, (_, total) in sums().items()}

    def release(present: bool) -> Floats:
        total = torch.from_numpy(known[present]).float()
        total.add_(torch.empty_like(total).normal_(), alpha=z).div_(UTTERANCES)
        return total.double().numpy() * UTTERANCES

    return Game("DP-SGD, noise in float32", release, known[False], known[True], z, gaussian_ceiling(z))


def update(size: int) -> npt.NDArray[np.float32]:
    """Return a user's update of norm just below 1."""
    result = np.random.default_rng(3).normal(size=size)
    return (0.999 * result / np.linalg.norm(result)).astype(np.float32)


def device(z: float, size: int) -> Game:
    """Return the game against noise on the device: its update, or none."""
    assume_identity()
    privacy = {"unit": "user", "noise_at": "device", "noise_multiplier": z, "clip_norm": 1.0, "secret_noise": True}
    config = load({"privacy": privacy, "strategy": {"weighting": "uniform"}})
    start = np.random.default_rng(4).normal(size=size).astype(np.float32)
    trained = {present: start + present * update(size) for present in (False, True)}

    def message(weights: npt.NDArray[np.float32]) -> Message:
        content = {"arrays": array_record({"w": weights}), "metrics": MetricRecord()}
        return Message(RecordDict(content), 0, "train")  # type: ignore[arg-type]

    def release(present: bool) -> Floats:
        reply = message(trained[present])
        protect(message(start), reply, config, 1, 0)
        return arrays_of(reply)["w"].astype(np.float64) - start

    exact = trained[True].astype(np.float64) - start
    return Game("noise on the device", release, np.zeros(size), exact, z, gaussian_ceiling(z))


def server(z: float, size: int, noise: str) -> Game:
    """Return the game against the server's noise; of correlated noise four rounds, the user in the first."""
    rounds = 1 if noise == "independent" else 4
    selection = {"name": "poisson", "clients_per_round": 4}
    if noise != "independent":
        selection = {"name": "round-robin", "clients_per_round": 4, "separation": 4}
    privacy = {"unit": "user", "noise_multiplier": z, "clip_norm": 1.0, "secret_noise": True, "noise": noise}
    privacy |= {"bands": 4} if noise == "banded" else {}
    config = load({"privacy": privacy, "selection": selection, "strategy": {"weighting": "uniform"}, "rounds": rounds})
    layout, one = Layout.of({"w": np.zeros(size, np.float32)}), update(size)
    matrix = UserLevel(config, layout).noise.matrix(rounds)

    def release(present: bool) -> Floats:
        mechanism, result = UserLevel(config, layout), []
        for round in range(1, rounds + 1):
            mean = ExactMean(layout, np.zeros(size, np.float32), 4.0, 4.0, mechanism.clip())
            if present and round == 1:
                mean.add(layout.views(one), 1)
            result.append(mechanism.noisy(mean, round, 1000).astype(np.float64) * 4.0)
        return np.asarray((matrix @ np.array(result)).ravel())  # independent noise again, as whoever knows M makes it

    sent = np.zeros((rounds, size))
    sent[0] = one
    exact = matrix @ sent
    name = {"independent": "the server", "banded": "DP-FTRL, banded", "tree": "DP-FTRL, tree"}[noise]
    ceiling = gaussian_ceiling(z / float(np.linalg.norm(exact)))
    return Game(f"noise of {name}", release, np.zeros(rounds * size), exact.ravel(), z, ceiling)


def votes(mechanism: str, scale: float, raw: bool = False) -> Game:
    """Return the game against released sums of posteriors: 20 teachers, one of whom votes one way or another."""
    others = np.random.default_rng(5).dirichlet(np.ones(CLASSES), size=19).sum(0)
    one = np.zeros((2, CLASSES))
    one[0, 0] = one[1, 1] = 1.0
    exact = [from_fixed(to_fixed(others)) + row for row in one]
    laplace = mechanism in LAPLACE

    def release(present: bool) -> Floats:
        rng = noise_generator(True, 0, "game", 0)
        if raw:
            return exact[present] + rng.laplace(0.0, scale, CLASSES)
        return noisy(mechanism, scale, exact[present], rng)

    pure = exp(2 / scale)
    ceiling = pure / (1 + pure) if laplace else gaussian_ceiling(scale / 2**0.5)
    name = f"votes, {mechanism}{' in raw doubles' if raw else ''}"
    return Game(name, release, exact[0], exact[1], scale, ceiling, laplace)


def games(trials: int) -> list[tuple[str, Game]]:
    """Return the setting of each game, and the game: the samplers that lose first."""
    size = sum(parameter.numel() for parameter in build_model(MODEL, MEL, TOKENS).parameters())
    result: list[tuple[str, Game]] = [(f"z = {z}", dp_sgd_in_float32(z)) for z in (4.0, 20.0)]
    result.append(("λ = 20", votes("soft-laplace", 20.0, raw=True)))
    for z in (4.0, 20.0):
        result += [(f"z = {z}", dp_sgd(z, trials)), (f"z = {z}", device(z, size))]
        result += [(f"z = {z}", server(z, size, noise)) for noise in ("independent", "banded", "tree")]
    return [*result, ("λ = 20", votes("soft-laplace", 20.0)), ("σ = 20", votes("soft-gaussian", 20.0))]


def main() -> None:
    """Play and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the coins; the noise is secret")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| noise | | likelihood | lattice | interval of the lattice's | ceiling |", "|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    started = time.monotonic()
    for setting, game in games(given.trials):
        right = play(game, given.trials, np.random.default_rng(given.seed))
        shares = [f"{right[rule] / given.trials:.3f}" for rule in ("likelihood", "lattice")]
        low, high = at_least(right["lattice"], given.trials), at_most(right["lattice"], given.trials)
        cells = [game.name, setting, *shares, f"{low:.3f} to {high:.3f}", f"{game.ceiling:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if given.out:
        given.out.write_text(page(lines, given, time.monotonic() - started))


def page(lines: list[str], given: argparse.Namespace, seconds: float) -> str:
    """Return the page of results."""
    return f"""# Who took part? The distinguishing game

A coin decides whether one utterance of {UTTERANCES} (one user, one teacher's vote) takes part in a release. The
adversary knows all others, the model, the mechanism and the sampler, and guesses the coin {given.trials} times a row.
Columns:

- *likelihood*: share of right guesses with the nearer hypothesis. In theory no rule beats it.
- *lattice*: share of right guesses with the hypothesis whose remainder the sampler can have drawn. The test of Gaussian
  noise is whether pairs of numbers lie on the radii of Box and Muller's method with 24 bits; of Laplace noise, whether
  the double is a logarithm of a multiple of 2⁻⁵².
- *interval*: that of Clopper and Pearson at 99.9 %.
- *ceiling*: what the stated ε allows: Φ(1 / 2z) for Gaussian noise (with the sensitivity of the released rounds),
  e^ε / (1 + e^ε) for Laplace noise.

```
python -m benchmarks.distinguishing_games --trials {given.trials} --seed {given.seed} --out {given.out}
```

{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__},
{seconds:.0f} s with other work on the machine. The seed is that of the coins; the noise comes from the operating
system. The first three rows are the samplers of earlier versions: normals of torch in float32, and Laplace noise in raw
doubles.

{chr(10).join(lines)}

DP-SGD takes a step on {UTTERANCES} utterances with a model of 50,253 parameters, q = 1; the other updates are as large.
With DP-FTRL, four rounds are released and turned back into independent noise, as anyone who knows the matrix can do.

**No two draws have equal noise.** Torch's generator on the CPU reads only the low 32 bits of its seed. Among 195,000
steps, 195,000² / 2 / 2³² = 4.4 pairs are expected to share their noise, which a server subtracts, and all seeds can be
tried in minutes. Now every draw has its own 256-bit key, and one pair is expected among 2¹²⁸ draws. Tests:
`tests/fedasr/privacy/test_distinguishing.py` and `test_randomness.py`.

**Why no library's sampler?** OpenDP's exact discrete Gaussian takes microseconds a number, and its noise cannot be
repeated from a seed, as a simulation requires. That of diffprivlib draws numbers one by one in Python. FedASR's Laplace
noise on a grid is exact too; its Gaussian noise is drawn in float64 and the sum rounded to a grid of 2⁻¹⁶ standard
deviations.
"""


if __name__ == "__main__":
    main()
