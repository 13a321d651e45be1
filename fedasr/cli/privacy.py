"""``fedasr privacy``: what noise protects, how much of it is needed, and what votes of teachers cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import console, print_json
from fedasr.errors import InputError

if TYPE_CHECKING:
    from fedasr.privacy.events import Event
    from fedasr.privacy.pate.analysis import Analysis
    from fedasr.privacy.pate.smooth import Release

app = typer.Typer(
    help="Privacy accounting: ε of Gaussian noise, noise for an ε, rounds in a budget, votes of PATE.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Noise = Annotated[
    float, typer.Option(help="Standard deviation of the noise on the sum, in clip norms.", show_default=False)
]
Probability = Annotated[
    float, typer.Option(help="Of a unit to be in a step: batch or cohort over population.", show_default=False)
]
Steps = Annotated[int, typer.Option(help="How often the mechanism runs.", show_default=False)]
Delta = Annotated[float, typer.Option(help="δ, well below one over the population.", show_default=False)]
Epsilon = Annotated[float, typer.Option(help="ε to keep to.", show_default=False)]
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
    json: AsJson = False,
) -> None:
    """Say what ε Gaussian noise on clipped sums over samples gives."""
    from fedasr.privacy.accountants import epsilon_of

    event = sampled(noise_multiplier, sampling_probability, steps, sampling, micro_batches)
    answer = epsilon_of([event], delta, usable(accountant, sampling))
    found = {
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "order": answer.order,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
    }
    tell(found, json, [("ε", upward(answer.epsilon)), ("δ", f"{delta:g}"), *assumptions(event, answer.accountant)])


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
    json: AsJson = False,
) -> None:
    """Say how much noise keeps to an ε; rounded up, so that it is never exceeded."""
    from fedasr.privacy.accountants import calibrate, epsilon_of

    def events(noise: float) -> list[Event]:
        return [sampled(noise, sampling_probability, steps, sampling, micro_batches)]

    events(1.0)  # names a wrong argument before the search
    noise = calibrate(events, epsilon, delta, usable(accountant, sampling))
    [event] = events(noise)
    answer = epsilon_of([event], delta, usable(accountant, sampling))
    found = {
        "noise_multiplier": noise,
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
    }
    rows = [("noise multiplier", f"{noise:g}"), ("ε", upward(answer.epsilon)), ("δ", f"{delta:g}")]
    tell(found, json, [*rows, *assumptions(event, answer.accountant)])


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
    json: AsJson = False,
) -> None:
    """Say with what chance δ the promise of an ε fails."""
    from fedasr.privacy.accountants import delta_of

    event = sampled(noise_multiplier, sampling_probability, steps, sampling, micro_batches)
    who = usable(accountant, sampling)
    delta = delta_of([event], epsilon, who)
    found = {
        "delta": delta,
        "epsilon": epsilon,
        "accountant": who,
        "adjacency": event.adjacency,
        "sampling": event.sampling,
    }
    tell(found, json, [("δ", f"{delta:.4g}"), ("ε", f"{epsilon:g}"), *assumptions(event, who)])


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
    json: AsJson = False,
) -> None:
    """Say how many steps fit into an ε."""
    from fedasr.privacy.accountants import MOST_STEPS, steps_within

    event = sampled(noise_multiplier, sampling_probability, 1, sampling, micro_batches)
    steps = steps_within(event, epsilon, delta, usable(accountant, sampling))
    found = {"steps": steps, "epsilon": epsilon, "delta": delta, "accountant": usable(accountant, sampling)}
    many = f"{steps:,}" + (" or more" if steps == MOST_STEPS else "")
    rows = [("steps", many), ("within ε", f"{epsilon:g}"), ("δ", f"{delta:g}")]
    tell(found, json, [*rows, *assumptions(event, usable(accountant, sampling))])


@app.command("zcdp", epilog="Example: fedasr privacy zcdp --rho 0.15 --delta 1e-10")
def zcdp(
    rho: Annotated[float, typer.Option(help="ρ of zero-concentrated DP, of the whole run.", show_default=False)],
    delta: Delta,
    accountant: Annotated[
        str, typer.Option(help="pld (exact, for Gaussian noise), or rdp (holds for any ρ-zCDP).")
    ] = "pld",
    json: AsJson = False,
) -> None:
    """Convert the ρ of DP-FTRL or of another Gaussian mechanism to ε."""
    from fedasr.privacy.accountants import epsilon_of
    from fedasr.privacy.checks import one_of, positive
    from fedasr.privacy.events import ZeroConcentrated

    one_of("--accountant", accountant, ("pld", "rdp"))
    event = ZeroConcentrated(unit="user", rho=positive("--rho", rho))
    answer = epsilon_of([event], delta, accountant)
    found = {
        "epsilon": answer.epsilon,
        "delta": delta,
        "accountant": answer.accountant,
        "order": answer.order,
        "rho": rho,
    }
    rows = [("ε", upward(answer.epsilon)), ("δ", f"{delta:g}"), ("ρ", f"{rho:g}"), ("accountant", answer.accountant)]
    tell(found, json, rows)


@app.command(
    "pate",
    epilog="Example: fedasr privacy pate --votes votes.csv --mechanism gnmax --scale 40 --delta 1e-5",
)
def pate(
    votes: Annotated[Path, typer.Option(help=".npy or .csv: one row of vote counts a query.", show_default=False)],
    mechanism: Annotated[
        str,
        typer.Option(help="lnmax, gnmax, confident-gnmax; threshold: its check alone.", show_default=False),
    ],
    delta: Delta,
    scale: Annotated[
        float | None, typer.Option(help="Noise on each count, in votes: λ of Laplace, σ of Gauss.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Votes that the winner must have for an answer.", show_default=False)
    ] = None,
    threshold_scale: Annotated[
        float | None, typer.Option(help="Noise of that check, in votes.", show_default=False)
    ] = None,
    orders: Annotated[str | None, typer.Option(help="Rényi orders, as 1.5,2,5,10.", show_default=False)] = None,
    conversion: Annotated[
        str, typer.Option(help="classic (as published results), or improved (as the ledger; smaller).")
    ] = "classic",
    answered: Annotated[
        Path | None,
        typer.Option(
            help="0 or 1 a query: which were answered. Absent: as many as are likely to be.", show_default=False
        ),
    ] = None,
    smooth_order: Annotated[
        float | None,
        typer.Option(
            help="Also release the data-dependent ε with noise by its smooth sensitivity, at this order.",
            show_default=False,
        ),
    ] = None,
    teachers: Annotated[
        int | None, typer.Option(help="How many vote. Absent: the most votes of a row.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Of the noise of the release, to repeat it; keep it secret.", show_default=False),
    ] = None,
    per_query: Annotated[
        Path | None, typer.Option(help="Write FILE.csv: what each query costs.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what the noisy votes of teachers cost; neighbours differ in one teacher."""
    from fedasr.privacy.pate.analysis import ORDERS, Mechanism, analyse
    from fedasr.privacy.pate.votes import read_answered, read_votes

    kind = Mechanism(mechanism, scale, threshold, threshold_scale)
    counts = read_votes(votes)
    known = None if answered is None else read_answered(answered, len(counts))
    grid = ORDERS if orders is None else parse_orders(orders)
    found = analyse(counts, kind, delta, orders=grid, answered=known, conversion=conversion)
    report: dict[str, Any] = {
        "epsilon": found.best[0],
        "epsilon_data_independent": found.best_data_independent[0],
        "delta": delta,
        "order": found.best[1],
        "order_data_independent": found.best_data_independent[1],
        "queries": found.queries,
        "answered": found.answered if found.expected else int(found.answered),
        "answered_expected": found.expected,
        "conversion": conversion,
        "unit": "teacher",
        "adjacency": "replace-one",
        "rdp": found.rdp,
        "rdp_data_independent": found.rdp_data_independent,
        "orders": found.orders,
    }
    rows = pate_rows(found)
    if smooth_order is not None:
        from fedasr.privacy.pate.smooth import check_conditions, total_local_sensitivity

        many = int(counts.sum(axis=1).max()) if teachers is None else teachers
        local = total_local_sensitivity(counts, kind, many, smooth_order, known)
        released = release_epsilon(found, smooth_order, local, seed, counts, known)
        conditions = check_conditions(kind.scale, counts.shape[1], smooth_order) if kind.scale else None
        report["smooth"] = {
            "order": released.order,
            "epsilon": released.epsilon,
            "standard_deviation": released.standard_deviation,
            "beta": released.beta,
            "sigma": released.sigma,
            "smooth_sensitivity": released.smooth_sensitivity,
            "cost": released.cost,
            "local_sensitivity": local,
            "conditions": None if conditions is None else {"c5": conditions[0], "c6": conditions[1]},
            "teachers": many,
        }
        rows.append(("ε, may be published", f"{released.epsilon:.4g}"))
    if per_query is not None:
        write_costs(per_query, found, counts, known)
    tell(report, json, rows)
    if per_query is not None:
        console.print(f"wrote {per_query}", markup=False)


@app.command(
    "tradeoff",
    epilog="Example: fedasr privacy tradeoff runs/private_home/* --out tradeoff.png",
)
def tradeoff(
    run_dirs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="Run folders, private or not, of any seeds.", show_default=False),
    ],
    metric: Annotated[str, typer.Option(help="A column of rounds.parquet: wer, cer, loss.")] = "wer",
    out: Annotated[
        Path | None, typer.Option(help="Write FILE.png, .pdf or .svg (the figure), .html (a page) or .csv.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what privacy costs: the error rate against ε, by mechanism, with mean and 95 % interval over seeds."""
    from fedasr.cli.results import print_rows
    from fedasr.results.comparison import check_suffix
    from fedasr.results.tradeoff import text_rows, write_tradeoff
    from fedasr.results.tradeoff import tradeoff as collect

    if out is not None:
        check_suffix(out)
    table = collect(run_dirs, metric)
    if out is not None:
        write_tradeoff(table, out, metric)
    if json:
        print_json({"metric": metric, "points": table.to_dict("records")})
    else:
        print_rows(*text_rows(table, metric))
    if out is not None:
        console.print(f"wrote {out}", markup=False)


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


def parse_orders(text: str) -> tuple[float, ...]:
    """Return the orders in a list with commas, rising.

    Raises:
        InputError: one is no number above 1.
    """
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"'--orders' is '{text}'; expected numbers above 1 with commas, as 1.5,2,5,10") from None
    if not all(1 < value < float("inf") for value in values):
        raise InputError(f"'--orders' is '{text}'; expected numbers above 1 with commas, as 1.5,2,5,10")
    return tuple(values)


def release_epsilon(found: Analysis, order: float, local: Any, seed: int | None, counts: Any, answered: Any) -> Release:
    """Return the ε with noise; without a seed the noise is the system's, which nobody can repeat."""
    import secrets

    from fedasr.privacy.pate.analysis import query_costs
    from fedasr.privacy.pate.smooth import release
    from fedasr.seeds import generator

    rdp = float(query_costs(counts, found.mechanism, (order,), answered).sum())
    rng = generator(secrets.randbits(63) if seed is None else seed, "pate-smooth-release")
    return release(rdp, local, order, found.delta, rng)


def pate_rows(found: Analysis) -> list[tuple[str, str]]:
    """Return the result for people."""
    answered = f"{found.answered:,.1f} expected" if found.expected else f"{found.answered:,.0f}"
    return [
        (
            "ε of these votes",
            f"{upward(found.best[0])} (order {found.best[1]:g}; do not publish: it depends on the data)",
        ),
        (
            "ε of any votes",
            f"{upward(found.best_data_independent[0])} (order {found.best_data_independent[1]:g})",
        ),
        ("δ", f"{found.delta:g}"),
        ("queries", f"{found.queries:,}"),
        ("answered", answered),
        ("adjacency", "one teacher votes otherwise"),
    ]


def write_costs(path: Path, found: Analysis, counts: Any, answered: Any) -> None:
    """Write a row a query: how likely it was answered, how surely the plurality won, and RDP at the best order.

    Raises:
        InputError: the file cannot be written.
    """
    import pandas as pd

    from fedasr.privacy.pate.analysis import answer_chances, query_costs

    table = pd.DataFrame(
        {
            "query": range(len(counts)),
            "winner": counts.argmax(axis=1),
            "votes": counts.max(axis=1).astype(int),
            "log_q": found.mechanism.log_q(counts),
            "answered": answer_chances(counts, found.mechanism, answered),
            "order": found.best[1],
            "rdp": query_costs(counts, found.mechanism, (found.best[1],), answered)[:, 0],
        }
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None


def upward(epsilon: float) -> str:
    """Return ε for people, rounded up."""
    from math import isfinite

    from fedasr.privacy.accountants import round_up

    if not isfinite(epsilon):
        return "infinite"
    return f"{round_up(epsilon, 4):g}" if epsilon > 0 else "0"


def tell(found: dict[str, Any], json: bool, rows: list[tuple[str, str]]) -> None:
    """Print the JSON object, or a table for people."""
    if json:
        print_json(found)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
