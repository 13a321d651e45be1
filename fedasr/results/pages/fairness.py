"""The section of a report on how groups of speakers compare, and the same in words for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedasr.results.pages.html import Html, element, figure, table
from fedasr.units import number, percent, percent_range, percentage_points

Comparison = Mapping[str, Any]
MOST_TOLD = 100
"""A ratio beyond it is not told: of few speakers the end of an interval may be in the millions."""


def fairness_section(comparisons: list[dict[str, Any]]) -> Html:
    """Return the section of the report on groups of speakers; nothing where none were compared."""
    if not comparisons:
        return Html()
    from fedasr.results.figures.fairness import groups as draw_groups

    parts: list[object] = [
        element(
            "p",
            "Word error rates of groups on the test speech. Intervals are 95 % bootstrap intervals over speakers. That"
            " of the gap allows for the worst and the best group having been picked on the same speech. Adjusted ratios"
            " are of a Poisson regression with a speaker effect, all else equal. No gap found does not mean that there"
            " is none: see how many speakers it would take.",
        )
    ]
    for one in comparisons:
        head, body = group_cells(one)
        parts += [
            element("h3", one["attribute"]),
            figure(
                draw_groups(one),
                f"Word error rate by {one['attribute']}",
                "With 95 % intervals; in brackets: speakers.",
            ),
            table(head, body),
            element("p", " ".join(sentences(one))),
            element("ul", *(element("li", warning) for warning in one["warnings"])) if one["warnings"] else "",
        ]
    return element("section", element("h2", "Fairness"), *parts)


def group_cells(one: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of groups, the worst first."""
    theirs = one.get("against", {}).get("groups")
    head = [one["attribute"], "WER", "95 % interval", "Speakers", "Words", "Adjusted ratio", "95 % interval"]
    head += ["Change from the other run", "95 % interval"] if theirs is not None else []
    body = []
    for name, row in sorted(one["groups"].items(), key=lambda item: -known(item[1]["wer"], -1.0)):
        adjusted = row["adjusted"]
        reference = name == one["regression"].get("reference")
        cells = [
            name,
            percent(known(row["wer"])),
            percent_range(known(row["low"]), known(row["high"])),
            number(row["speakers"]),
            number(row["words"]),
            "reference" if reference else ratio_text(adjusted["ratio"]),
            "–" if reference else ratio_range(adjusted),
        ]
        if theirs is not None:
            change = theirs.get(name, {})
            cells += [percentage_points(known(change.get("difference"))), points_range(change)]
        body.append(cells)
    return head, body


def sentences(one: Comparison) -> list[str]:
    """Return what the table leaves to be said: gap, ratio, test, power, and what changed against another run."""
    gap, ratio, regression, power = one["gap"], one["ratio"], one["regression"], one["power"]
    result = [
        f"Gap, '{gap['worst']}' less '{gap['best']}': {plain_points(gap['difference'])}, 95 % interval"
        f" {percent_range(known(gap['low']), known(gap['high'])).removesuffix(' %')} points.",
        f"Ratio: {ratio_text(ratio['ratio'])}, {ratio_range(ratio)}.",
    ]
    if "p_value" in regression:
        given = ", ".join(regression["covariates"])
        beside = f", given {given}" if given else ""
        result.append(f"Regression: p = {number(known(regression['p_value']), 2)} if all groups were alike{beside}.")
    if "divergence" in one:
        result.append(f"Divergence of the posteriors: {measured(one['divergence'], 'nats per token')}.")
    if "kl" in one:
        result.append(f"Kullback–Leibler divergence between two levels: {measured(one['kl'], 'nats per token')}.")
    if "sensitivity" in one and "reason" not in one["sensitivity"]:
        given = one["sensitivity"]
        probe, times = given["probe"], given["ratio"]
        result.append(
            f"Accumulated prediction sensitivity: {measured(given, 'nats per token')};"
            f" {number(known(times['value']))} times ({number(known(times['low']))} to {number(known(times['high']))})"
            f" that to all inputs alike. The probe tells {percent(known(probe['accuracy']))} of the test utterances"
            f" right (by chance {percent(known(probe['chance']))})."
        )
    wanted, pair = plain_points(power["gap"]), "in both groups" if not one["one_group_a_speaker"] else "in each group"
    if power["speakers"] is not None:
        result.append(
            f"To show a gap of {wanted} in four of five tests takes about {number(power['speakers'])} speakers {pair}."
        )
    if "against" in one:
        other = one["against"]
        result.append(
            f"Compared with {other['run']}, the gap between '{other['gap']['worst']}' and '{other['gap']['best']}'"
            f" changes by {percentage_points(known(other['gap']['difference']))} ({points_range(other['gap'])}); the"
            f" largest gap there is {plain_points(other['gaps'][1])}."
        )
    return result


def known(value: float | None, otherwise: float = float("nan")) -> float:
    """Return a number that JSON may not have."""
    return otherwise if value is None else float(value)


def measured(given: Mapping[str, Any], unit: str) -> str:
    """Return a number with its unit and its interval."""
    value, low, high = (number(known(given[name])) for name in ("value", "low", "high"))
    return f"{value} {unit}, 95 % interval {low} to {high}"


def plain_points(value: float | None) -> str:
    """Return a fraction in percentage points without a sign."""
    return f"{100 * known(value):.1f} points" if value is not None else "–"


def points_range(given: Mapping[str, Any]) -> str:
    """Return the interval of a difference in percentage points."""
    low, high = (percentage_points(known(given.get(end))) for end in ("low", "high"))
    return "–" if "–" in (low, high) else f"{low.removesuffix(' points')} to {high}"


def ratio_text(value: float | None) -> str:
    """Return a ratio with two decimals."""
    if value is None or value != value:
        return "–"
    return f"{value:.2f}" if value <= MOST_TOLD else f"above {MOST_TOLD}"


def ratio_range(given: Mapping[str, Any]) -> str:
    """Return the interval of a ratio."""
    low, high = ratio_text(given.get("low")), ratio_text(given.get("high"))
    return "–" if "–" in (low, high) else f"{low} to {high}"
