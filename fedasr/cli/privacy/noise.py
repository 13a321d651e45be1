"""What Gaussian noise protects, how much of it is needed, how often it may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fedasr.cli.privacy.options import (
    CLIPPED,
    AsJson,
    Delta,
    Population,
    Unit,
    app,
    checked_delta,
    context,
    tell,
    upward,
)
from fedasr.errors import InputError

if TYPE_CHECKING:
    from fedasr.privacy.events import Event


Noise = Annotated[
    float, typer.Option(help="Standard deviation of the noise on the sum, in clip norms.", show_default=False)
]
Probability = Annotated[
    float,
    typer.Option(
        help="Probability that a unit is in a step: batch or cohort size over population.", show_default=False
    ),
]
Steps = Annotated[int, typer.Option(help="How often the mechanism runs.", show_default=False)]
Epsilon = Annotated[float, typer.Option(help="The ε not to exceed.", show_default=False)]
Accountant = Annotated[str, typer.Option(help="pld (tight), rdp (quick), or prv (Opacus; a second opinion).")]
Sampling = Annotated[
    str,
    typer.Option(
        help="poisson (one unit added or removed), or fixed-size without replacement (one unit exchanged; rdp only)."
    ),
]
MicroBatches = Annotated[
    bool, typer.Option("--micro-batches", help="Means of micro-batches are clipped (eDP-SGD): sensitivity 2C.")
]


@app.command(
    "gaussian",
    epilog="Example: fedasr privacy gaussian --noise-multiplier 1.1 --sampling-probability 0.01 --steps 1000"
    " --delta 1e-5",
)
def gaussian(
    noise_multiplier: Noise,
    sampling_probability: Probability,
    steps: Steps,
    delta: Delta,
    accountant: Accountant = "pld",
    sampling: Sampling = "poisson",
    micro_batches: MicroBatches = False,
    unit: Unit = CLIPPED,
    population: Population = None,
    json: AsJson = False,
) -> None:
    """Say what ε Gaussian noise on clipped sums over samples gives."""
    from fedasr.privacy.accountants import epsilon_of

    checked_delta(delta)
    event = sampled(noise_multiplier, sampling_probability, steps, sampling, micro_batches)
    facts, whose = context(unit, population, delta)
    answer = epsilon_of([event], delta, usable(accountant, sampling))
    result = {
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "order": answer.order,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
        **facts,
    }
    rows = [("ε", upward(answer.epsilon)), ("δ", f"{delta:g}"), *assumptions(event, answer.accountant), *whose]
    tell(result, json, rows)


@app.command(
    "calibrate",
    epilog="Example: fedasr privacy calibrate --epsilon 4 --sampling-probability 0.01 --steps 1000 --delta 1e-5",
)
def calibrate_command(
    epsilon: Epsilon,
    sampling_probability: Probability,
    steps: Steps,
    delta: Delta,
    accountant: Accountant = "pld",
    sampling: Sampling = "poisson",
    micro_batches: MicroBatches = False,
    unit: Unit = CLIPPED,
    population: Population = None,
    json: AsJson = False,
) -> None:
    """Say how much noise keeps to an ε; rounded up, so that it is never exceeded."""
    from fedasr.privacy.accountants import calibrate, epsilon_of

    def events(noise: float) -> list[Event]:
        return [sampled(noise, sampling_probability, steps, sampling, micro_batches)]

    checked_delta(delta)
    events(1.0)  # names a wrong argument before the search
    facts, whose = context(unit, population, delta)
    noise = calibrate(events, epsilon, delta, usable(accountant, sampling))
    [event] = events(noise)
    answer = epsilon_of([event], delta, usable(accountant, sampling))
    result = {
        "noise_multiplier": noise,
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
        **facts,
    }
    rows = [("noise multiplier", f"{noise:g}"), ("ε", upward(answer.epsilon)), ("δ", f"{delta:g}")]
    tell(result, json, [*rows, *assumptions(event, answer.accountant), *whose])


@app.command(
    "delta",
    epilog="Example: fedasr privacy delta --epsilon 4 --noise-multiplier 1.1 --sampling-probability 0.01 --steps 1000",
)
def delta_command(
    epsilon: Epsilon,
    noise_multiplier: Noise,
    sampling_probability: Probability,
    steps: Steps,
    accountant: Accountant = "pld",
    sampling: Sampling = "poisson",
    micro_batches: MicroBatches = False,
    unit: Unit = CLIPPED,
    population: Population = None,
    json: AsJson = False,
) -> None:
    """Say with what chance δ the promise of an ε fails."""
    from fedasr.privacy.accountants import delta_of

    event = sampled(noise_multiplier, sampling_probability, steps, sampling, micro_batches)
    who = usable(accountant, sampling)
    delta = delta_of([event], epsilon, who)
    facts, whose = context(unit, population, delta)
    result = {
        "delta": delta,
        "epsilon": epsilon,
        "accountant": who,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
        **facts,
    }
    tell(result, json, [("δ", f"{delta:.4g}"), ("ε", f"{epsilon:g}"), *assumptions(event, who), *whose])


@app.command(
    "steps",
    epilog="Example: fedasr privacy steps --epsilon 4 --delta 1e-5 --noise-multiplier 1.1 --sampling-probability 0.01",
)
def steps_command(
    epsilon: Epsilon,
    delta: Delta,
    noise_multiplier: Noise,
    sampling_probability: Probability,
    accountant: Accountant = "pld",
    sampling: Sampling = "poisson",
    micro_batches: MicroBatches = False,
    unit: Unit = CLIPPED,
    population: Population = None,
    json: AsJson = False,
) -> None:
    """Say how many steps fit into an ε."""
    from fedasr.privacy.accountants import MOST_STEPS, steps_within

    checked_delta(delta)
    event = sampled(noise_multiplier, sampling_probability, 1, sampling, micro_batches)
    facts, whose = context(unit, population, delta)
    steps = steps_within(event, epsilon, delta, usable(accountant, sampling))
    result = {
        "steps": steps,
        "epsilon": epsilon,
        "delta": delta,
        "accountant": usable(accountant, sampling),
        "adjacency": event.adjacency,
        "sampling": event.sampling,
        **facts,
    }
    many = f"{steps:,}" + (" or more" if steps == MOST_STEPS else "")
    rows = [("steps", many), ("within ε", f"{epsilon:g}"), ("δ", f"{delta:g}")]
    tell(result, json, [*rows, *assumptions(event, usable(accountant, sampling)), *whose])


@app.command("zcdp", epilog="Example: fedasr privacy zcdp --rho 0.15 --delta 1e-10")
def zcdp(
    rho: Annotated[float, typer.Option(help="ρ of zero-concentrated DP, of the whole run.", show_default=False)],
    delta: Delta,
    accountant: Annotated[
        str, typer.Option(help="pld (exact, for Gaussian noise), or rdp (holds for any ρ-zCDP).")
    ] = "pld",
    unit: Unit = CLIPPED,
    population: Population = None,
    json: AsJson = False,
) -> None:
    """Convert the ρ of DP-FTRL or of another Gaussian mechanism to ε."""
    from fedasr.privacy.accountants import epsilon_of
    from fedasr.privacy.checks import one_of, positive
    from fedasr.privacy.events import ZeroConcentrated

    one_of("--accountant", accountant, ("pld", "rdp"))
    checked_delta(delta)
    event = ZeroConcentrated(unit="user", rho=positive("--rho", rho))
    facts, whose = context(unit, population, delta)
    answer = epsilon_of([event], delta, accountant)
    result = {
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "order": answer.order,
        "rho": rho,
        "adjacency": "that of the ρ",
        "sampling": "none",
        **facts,
    }
    rows = [("ε", upward(answer.epsilon)), ("δ", f"{delta:g}"), ("ρ", f"{rho:g}"), ("accountant", answer.accountant)]
    tell(result, json, [*rows, ("adjacency", "that which the ρ was computed under"), *whose])


def sampled(noise: float, probability: float, steps: int, sampling: str, micro_batches: bool) -> Event:
    """Return the event that the options describe.

    Raises:
        InputError: an option is out of its range; the line names it.
    """
    from fedasr.privacy.checks import count, fraction, one_of, positive
    from fedasr.privacy.events import FixedSizeGaussian, MicroBatchGaussian, PoissonGaussian

    one_of("--sampling", sampling, ("poisson", "fixed-size"))
    z, q = positive("--noise-multiplier", noise), fraction("--sampling-probability", probability)
    count("--steps", steps)
    if sampling == "fixed-size":
        if micro_batches:
            raise InputError("--micro-batches is accounted for with --sampling poisson only")
        return FixedSizeGaussian(unit="example", noise_multiplier=z, sampling_probability=q, steps=steps)
    kind = MicroBatchGaussian if micro_batches else PoissonGaussian
    return kind(unit="example", noise_multiplier=z, sampling_probability=q, steps=steps)


def usable(accountant: str, sampling: str) -> str:
    """Return the accountant; the default gives way where only rdp can answer."""
    return "rdp" if sampling == "fixed-size" and accountant == "pld" else accountant


def assumptions(event: Event, accountant: str) -> list[tuple[str, str]]:
    """Return what an ε depends on besides δ, for people."""
    change = {"add-remove": "one unit added or removed", "replace-one": "one unit exchanged for another"}
    return [("mechanism", event.describe()), ("adjacency", change[event.adjacency]), ("accountant", accountant)]
