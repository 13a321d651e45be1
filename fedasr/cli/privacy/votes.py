"""What noisy votes of teachers cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedasr.cli.common import console
from fedasr.cli.privacy.options import AsJson, Delta, app, checked_delta, context, tell, upward
from fedasr.errors import InputError

if TYPE_CHECKING:
    from fedasr.privacy.pate.analysis import Analysis
    from fedasr.privacy.pate.smooth import Release


@app.command(
    "pate",
    epilog="Example: fedasr privacy pate --votes votes.csv --mechanism gnmax --scale 40 --delta 1e-5",
)
def pate(
    votes: Annotated[Path, typer.Option(help=".npy or .csv: one row of vote counts a query.", show_default=False)],
    mechanism: Annotated[
        str,
        typer.Option(
            help="lnmax, gnmax, confident-gnmax; threshold: its check alone; soft-gaussian, soft-laplace: a row is a"
            " query whose noisy sum of posteriors is released, and costs the same whatever is in it.",
            show_default=False,
        ),
    ],
    delta: Delta,
    scale: Annotated[
        float | None, typer.Option(help="Noise on each count, in votes: λ of Laplace, σ of Gauss.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Votes that the winner needs for an answer.", show_default=False)
    ] = None,
    threshold_scale: Annotated[
        float | None, typer.Option(help="Noise of the threshold check, in votes.", show_default=False)
    ] = None,
    orders: Annotated[str | None, typer.Option(help="Rényi orders, as 1.5,2,5,10.", show_default=False)] = None,
    conversion: Annotated[
        str, typer.Option(help="classic (as published results), or improved (as the ledger; smaller).")
    ] = "classic",
    answered: Annotated[
        Path | None,
        typer.Option(help="0 or 1 a query: whether it was answered; default: the expected number.", show_default=False),
    ] = None,
    smooth_order: Annotated[
        float | None,
        typer.Option(
            help="Also release an upper bound of the data-dependent ε (classic), with noise by its smooth sensitivity,"
            " at this order; choose it before you look at the votes.",
            show_default=False,
        ),
    ] = None,
    teachers: Annotated[
        int | None,
        typer.Option(
            help="Number of teachers, for --smooth-order; the votes do not tell it: a teacher may never vote.",
            show_default=False,
        ),
    ] = None,
    coverage: Annotated[
        float, typer.Option(help="For --smooth-order: probability that the released ε is at least the true one.")
    ] = 0.95,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the release's noise, to reproduce it; keep it secret.", show_default=False),
    ] = None,
    per_query: Annotated[
        Path | None, typer.Option(help="Write FILE.csv: what each query costs.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what the noisy votes of teachers cost; neighbours differ in one teacher."""
    from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse
    from fedasr.privacy.pate.votes import read_answered, read_votes

    if smooth_order is not None and teachers is None:
        raise InputError("'--smooth-order' needs '--teachers': how many there are, whether they voted or not")
    kind = VoteMechanism(mechanism, scale, threshold, threshold_scale)
    checked_delta(delta)
    counts = read_votes(votes)
    known = None if answered is None else read_answered(answered, len(counts))
    grid = ORDERS if orders is None else parse_orders(orders)
    analysis = analyse(counts, kind, delta, orders=grid, answered=known, conversion=conversion)
    facts, whose = context("teacher", teachers, delta)
    report: dict[str, Any] = {
        "epsilon": analysis.best[0],
        "epsilon_data_independent": analysis.best_data_independent[0],
        "delta": delta,
        "order": analysis.best[1],
        "order_data_independent": analysis.best_data_independent[1],
        "queries": analysis.queries,
        "answered": analysis.answered if analysis.expected else int(analysis.answered),
        "answered_expected": analysis.expected,
        "conversion": conversion,
        "unit": "teacher",
        "adjacency": "replace-one",
        "sampling": "none",
        "accountant": "rdp",
        "direction": None if analysis.mechanism.soft else "these votes against any neighbour",
        "may_be_published": ["epsilon_data_independent", *(["epsilon"] if analysis.mechanism.soft else [])],
        "population": teachers,
        **{name: facts[name] for name in ("randomness", "warnings")},
        "rdp": analysis.rdp,
        "rdp_data_independent": analysis.rdp_data_independent,
        "orders": analysis.orders,
    }
    rows = [*pate_rows(analysis), *whose]
    if smooth_order is not None:
        from fedasr.privacy.ledger import PUBLIC_SEED, SECRET
        from fedasr.privacy.pate.smooth import check_conditions, total_local_sensitivity

        assert teachers is not None
        local = total_local_sensitivity(counts, kind, teachers, smooth_order, known)
        released = release_epsilon(analysis, smooth_order, local, seed, counts, known, coverage)
        conditions = check_conditions(kind.scale, counts.shape[1], smooth_order) if kind.scale else None
        report["smooth"] = {
            "order": released.order,
            "epsilon": released.epsilon,
            "coverage": released.coverage,
            "epsilon_whatever_the_votes": released.most,
            "randomness": SECRET if seed is None else PUBLIC_SEED,
            "sensitive": ["standard_deviation", "smooth_sensitivity", "local_sensitivity"],
            "standard_deviation": released.standard_deviation,
            "beta": released.beta,
            "sigma": released.sigma,
            "smooth_sensitivity": released.smooth_sensitivity,
            "cost": released.cost,
            "local_sensitivity": local,
            "conditions": None if conditions is None else {"c5": conditions[0], "c6": conditions[1]},
            "teachers": teachers,
        }
        told = f"{released.epsilon:.4g} ({100 * coverage:g} % upper bound, labels and this figure together)"
        rows.append(("ε, may be published", told))
        report["may_be_published"] = [*report["may_be_published"], "smooth.epsilon"]
    if per_query is not None:
        write_costs(per_query, analysis, counts, known)
    tell(report, json, rows)
    if per_query is not None:
        console.print(f"wrote {per_query}", markup=False)


def parse_orders(text: str) -> tuple[float, ...]:
    """Return the orders in a list with commas, rising.

    Raises:
        InputError: one is no number above 1.
    """
    try:
        values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(
            f"'--orders' is '{text}'; expected numbers above 1 with commas between them, such as 1.5,2,5,10"
        ) from None
    if not all(1 < value < float("inf") for value in values):
        raise InputError(
            f"'--orders' is '{text}'; expected numbers above 1 with commas between them, such as 1.5,2,5,10"
        )
    return tuple(values)


def release_epsilon(
    analysis: Analysis, order: float, local: Any, seed: int | None, counts: Any, answered: Any, coverage: float
) -> Release:
    """Return the ε with noise; without a seed the noise is the system's, which nobody can repeat."""
    from fedasr.privacy.pate.analysis import query_costs
    from fedasr.privacy.pate.smooth import release, whatever_the_votes
    from fedasr.privacy.randomness import Randomness

    rdp = float(query_costs(counts, analysis.mechanism, (order,), answered).sum())
    most = whatever_the_votes(analysis.rdp_data_independent, analysis.orders, order, analysis.delta, coverage)
    rng = Randomness.of(seed is None, 0 if seed is None else seed).generator("pate-smooth-release")
    return release(rdp, local, order, analysis.delta, rng, coverage=coverage, most=most)


def pate_rows(analysis: Analysis) -> list[tuple[str, str]]:
    """Return the result for people."""
    answered = f"{analysis.answered:,.1f} expected" if analysis.expected else f"{analysis.answered:,.0f}"
    secret = "" if analysis.mechanism.soft else "; do not publish, bounds one direction"
    return [
        ("ε of these votes", f"{upward(analysis.best[0])} (order {analysis.best[1]:g}{secret})"),
        (
            "ε of any votes",
            f"{upward(analysis.best_data_independent[0])} (order {analysis.best_data_independent[1]:g})",
        ),
        ("δ", f"{analysis.delta:g}"),
        ("queries", f"{analysis.queries:,}"),
        ("answered", answered),
        ("adjacency", "one teacher votes otherwise"),
        ("accountant", "rdp"),
    ]


def write_costs(path: Path, analysis: Analysis, counts: Any, answered: Any) -> None:
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
            "log_q": analysis.mechanism.log_q(counts),
            "answered": answer_chances(counts, analysis.mechanism, answered),
            "order": analysis.best[1],
            "rdp": query_costs(counts, analysis.mechanism, (analysis.best[1],), answered)[:, 0],
        }
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", where=str(path)) from None
