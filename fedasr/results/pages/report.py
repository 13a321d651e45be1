"""The report of a run: one HTML page that opens without a network and says what happened and how to repeat it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedasr.errors import InputError
from fedasr.privacy.ledger import SECRET
from fedasr.protocol import Status
from fedasr.results.load import Run, as_run, completed
from fedasr.results.pages.audit import audit_section
from fedasr.results.pages.fairness import fairness_section
from fedasr.results.pages.html import Html, element, figure, join, page, table, write
from fedasr.results.pages.labels import estimates, own_labels
from fedasr.results.tables import forgetting
from fedasr.results.tables.compare import total
from fedasr.results.tables.fairness import read_fairness
from fedasr.results.tables.transcripts import Piece, align
from fedasr.units import data_size, duration, metric_text, number, percent, percent_range, percentage_points

LAST_ROUNDS = 12
LISTED_FAILURES = 30
LISTED_ROUNDS = 10
LONGEST_TABLE = 40
ARROW = "\N{NARROW NO-BREAK SPACE}→\N{NARROW NO-BREAK SPACE}"


def write_report(run: Run | str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run, finished or not, and return its path.

    Args:
        run: a ``Run`` or a run folder.
        out: the page; by default ``report.html`` in the run folder.

    Raises:
        InputError: the folder is not a run folder, a file in it is damaged, or the page cannot be written.
    """
    loaded = as_run(run)
    path = Path(out) if out is not None else loaded.path / "report.html"
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"the report is a page, not '{path.suffix}'; expected FILE.html", where=str(path))
    return write(path, report_page(loaded))


def report_page(run: Run) -> str:
    """Return the page."""
    return page(
        f"{run.name} · FedASR",
        headline(run),
        figures(run),
        by_activity(run),
        over_periods(run),
        last_rounds(run),
        group_rates(run),
        own_labels(run),
        estimates(run),
        fairness_section(read_fairness(run.path)),
        transcripts(run),
        left_out(run),
        failures(run),
        privacy(run),
        audit_section(run.path, run.audit),
        repeat(run),
    )


def section(title: str, *children: object) -> Html:
    """Return a titled part of the page."""
    return element("section", element("h2", title), *children)


def headline(run: Run) -> Html:
    """Return the name, the status, and the numbers that a reader looks for first."""
    summary, rounds = run.summary, run.rounds
    planned = run.config.get("rounds")
    done = completed(rounds)
    simulated = total(run, "simulated_seconds")
    audio = heard(float(rounds["audio_seconds"].sum()), float(rounds["examples"].sum()))
    tiles = [
        tile("Word error rate", metric_text("wer", run.last("wer")), evaluated_at(run)),
        tile("Character error rate", metric_text("cer", run.last("cer"))),
        tile("Rounds", number(done), f"of {planned}" if planned not in (None, done) else ""),
        *(work_in_one_place(run) if in_one_place(run) else work_of_clients(run)),
        tile("Wall time", duration(float(summary.get("wall_seconds") or rounds["wall_seconds"].sum()))),
        tile("Audio trained on", duration(audio), "with repetitions" if audio == audio else "devices do not tell"),
    ]
    if simulated == simulated:
        tiles.append(tile("Simulated time", duration(simulated), "what real devices would have taken"))
    if summary.get("parameters"):
        tiles.append(tile("Parameters", number(float(summary["parameters"]))))
    if summary.get("epsilon") is not None and summary.get("delta") is not None:
        drawn = "secret randomness" if summary.get("randomness") == SECRET else "a simulation's, from a public seed"
        caption = f"at δ = {summary['delta']:g}, {drawn}; assumptions under Privacy"
        tiles.append(tile("ε", number(summary["epsilon"]), caption))
    digest = summary.get("model_sha256")
    return element(
        "header",
        element("h1", run.name, badge(run)),
        element("div", setting(run), class_="muted"),
        element("dl", *tiles, class_="tiles"),
        element("p", "Model ", element("code", f"sha256 {digest}"), class_="muted") if digest else "",
    )


def in_one_place(run: Run) -> bool:
    """Say whether nobody was sent anything: all speech was trained on in one place."""
    rounds = run.rounds
    return bool(len(rounds)) and not len(run.clients) and not (rounds["bytes_up"] + rounds["bytes_down"]).any()


def work_of_clients(run: Run) -> list[Html]:
    """Return how many clients took part, and what was sent."""
    rounds = run.rounds
    took_part, known = run.participation.took_part, run.participation.clients
    up, down = float(rounds["bytes_up"].sum()), float(rounds["bytes_down"].sum())
    return [
        tile("Clients that took part", number(took_part), f"of {number(known)}" if known is not None else ""),
        tile("Client updates", number(float(rounds["clients_replied"].sum())), rate(run.summary)),
        tile("Data sent", data_size(up + down), f"{data_size(up)} to the server, {data_size(down)} to the clients"),
    ]


def work_in_one_place(run: Run) -> list[Html]:
    """Return whose speech was pooled, and how much of it was trained on."""
    known, trained = run.participation.clients, run.summary.get("utterances_trained")
    return [
        tile("Speech pooled in one place", "" if known is None else number(known), "clients; nothing was sent"),
        tile("Utterances trained on", number(float(trained)) if trained is not None else "", "with repetitions"),
    ]


def heard(seconds: float, examples: float) -> float:
    """Return seconds of audio; NaN where there were utterances but devices do not tell how long they are."""
    return math.nan if examples and not seconds else seconds


def badge(run: Run) -> Html:
    """Return the status as a badge."""
    return element("span", run.status, class_="badge" if run.finished else "badge warn")


def setting(run: Run) -> str:
    """Return one line on what ran."""
    parts = [f"seed {run.seed}"]
    for key in ("data.corpus", "model.name", "strategy.name", "selection.name", "runtime.name"):
        name, _, leaf = key.partition(".")
        value = (run.config.get(name) or {}).get(leaf)
        if value is not None:
            parts.append(f"{name} {value}")
    attack = run.summary.get("attack")
    return " · ".join([*parts, *([attack] if isinstance(attack, str) else [])])


def tile(name: str, value: str, note: str = "") -> Html:
    """Return one number with its name."""
    return element("div", element("dt", name), element("dd", value, element("small", note) if note else ""))


def evaluated_at(run: Run) -> str:
    """Return where the last WER comes from, and where it started from."""
    evaluated = run.rounds.loc[run.rounds["wer"].notna(), "round"]
    if not len(evaluated):
        return "not evaluated yet"
    before = f"; {percent(run.initial['wer'])} before training" if "wer" in run.initial else ""
    return f"held-out speech, after round {int(evaluated.iloc[-1])}{before}"


def rate(summary: dict[str, object]) -> str:
    """Return the throughput, where the run recorded it."""
    value = summary.get("updates_per_second")
    return f"{number(value)} a second" if isinstance(value, (int, float)) else ""


def figures(run: Run) -> Html:
    """Return the figures, each with what it means."""
    if not len(run.rounds):
        return section("Rounds", element("p", "No round has finished yet."))
    from fedasr.results.figures import plot

    shared = run.participation
    fairness = ""
    if len(shared.counts):
        among = "all clients" if shared.clients is not None else "the clients that were selected at least once"
        fairness = f"Over {among}: Gini {shared.gini:.2f} (0 is even), Jain {shared.jain:.2f} (1 is even)."
    trained = "Mean over the utterances trained on"
    of_clients: list[Html] = []
    if not in_one_place(run):
        trained = "Mean of the selected clients"
        of_clients = [
            figure(plot.participation(run), "How many clients took part how often", fairness),
            figure(plot.traffic(run), "Data sent over the rounds", "Model updates up, models down, summed."),
        ]
    return section(
        "Over the rounds",
        element(
            "div",
            figure(plot.errors(run), "Error rates over the rounds", "On held-out speech."),
            figure(plot.losses(run), "Losses over the rounds", f"{trained}, and held-out speech."),
            *of_clients,
            class_="figures",
        ),
    )


def left_out(run: Run) -> Html:
    """Return how much of the speech the run did not use, and why."""
    counts = run.summary.get("utterances_left_out")
    if not isinstance(counts, dict) or not counts:
        return Html()
    rows = [(str(reason), number(float(count))) for reason, count in counts.items()]
    return section(
        "Utterances left out",
        element("p", "Of the training and the test split; nobody trained or was evaluated on them."),
        table(("Reason", "Utterances"), rows, text_columns=1),
    )


def by_activity(run: Run) -> Html:
    """Return the WER of light and heavy users: what an average over clients hides."""
    table_ = run.activity
    if not len(table_):
        return Html()
    from fedasr.results.figures import plot

    last = table_[table_["round"] == table_["round"].max()]
    totals = last.groupby("decile")[["clients", "utterances", "words", "errors"]].sum()
    rates = totals["errors"] / totals["words"]
    rows = [
        (number(decile), percent(rates[decile]), *map(number, row))
        for decile, row in zip(totals.index, totals[["clients", "utterances", "words"]].to_numpy(float), strict=True)
    ]
    gap = rates.iloc[0] - rates.iloc[-1]
    return section(
        "Word error rate by activity",
        element(
            "p",
            f"After round {int(last['round'].iloc[0])}, on speech of the clients that none of them trained on. Tenth 1"
            f" are the clients that store the least, tenth {totals.index[-1]} those that store the most. Lightest less"
            f" heaviest: {percentage_points(gap)}.",
        ),
        element(
            "div",
            figure(plot.deciles(run), "Word error rate by decile of activity"),
            table(("Tenth", "WER", "Clients", "Utterances", "Words"), rows, text_columns=0),
            class_="figures",
        ),
    )


def over_periods(run: Run) -> Html:
    """Return the WER on each period's speech, and what was forgotten of the past ones."""
    if not len(run.periods):
        return Html()
    from fedasr.results.figures import plot

    past = forgetting.of_run(run)
    rows = [
        (
            f"period {row['period']:.0f}",
            percent(row["learned"]),
            percent(row["final"]),
            percentage_points(row["forgetting"]),
        )
        for row in past.to_dict("records")
    ]
    if rows:
        mean = past.mean()
        rows.append(("mean", percent(mean["learned"]), percent(mean["final"]), percentage_points(mean["forgetting"])))
    head = ("Speech of", "Right after it", "At the end", "Forgetting")
    return section(
        "Over the periods",
        element(
            "p",
            "Word error rates. Forgetting is how much worse the model of the last period is on the speech of a past one"
            " than the model of that period was; below zero, it went on to improve.",
        ),
        element(
            "div",
            figure(
                plot.periods(run), "Word error rate on the speech of each period", "Large dots: a period's own model."
            ),
            table(head, rows) if rows else element("p", "No period has been left behind yet."),
            class_="figures",
        ),
    )


def last_rounds(run: Run) -> Html:
    """Return the table of the last rounds."""
    if not len(run.rounds):
        return Html()
    rows = []
    for row in run.rounds.tail(LAST_ROUNDS).iloc[::-1].to_dict("records"):
        rows.append(
            [
                number(row["round"]), percent(row["wer"]), percent(row["cer"]), number(row["loss"]),
                number(row["train_loss"]), f"{number(row['clients_replied'])} of {number(row['clients_selected'])}",
                number(row["examples"]), duration(heard(row["audio_seconds"], row["examples"])),
                data_size(row["bytes_up"]), data_size(row["bytes_down"]), duration(row["wall_seconds"]),
            ]
        )  # fmt: skip
    if run.initial and (run.rounds["round"] > 0).all():
        of = {metric: run.initial.get(metric, math.nan) for metric in ("wer", "cer", "loss")}
        rows.append(["0", percent(of["wer"]), percent(of["cer"]), number(of["loss"]), *["–"] * 7])
    head = ("Round", "WER", "CER", "Loss", "Train loss", "Replied", "Utterances", "Audio", "Up", "Down", "Wall time")
    return section("Last rounds", table(head, rows, text_columns=0))


def group_rates(run: Run) -> Html:
    """Return the last WER of each group of speakers, worst first."""
    groups = run.groups
    if not len(groups):
        return Html()
    last = groups[groups["round"] == groups["round"].max()]
    note = f"On held-out speech after round {int(last['round'].iloc[0])}, worst first."
    if last["wer_low"].notna().any():
        note += " The interval resamples the speakers of a group; with fewer than ten speakers it may be too narrow."
    parts: list[object] = [element("p", note)]
    for column, rows in last.groupby("column", sort=False):
        ordered = rows.sort_values("wer", ascending=False)
        gap = ordered["wer"].max() - ordered["wer"].min()
        body = [
            (
                row["value"],
                percent(row["wer"]),
                percent_range(row["wer_low"], row["wer_high"]),
                number(row["speakers"]),
                number(row["utterances"]),
            )
            for row in ordered.head(LONGEST_TABLE).to_dict("records")
        ]
        more = len(ordered) - len(body)
        parts += [
            table((column, "WER", "95 % interval", "Speakers", "Utterances"), body),
            element(
                "p",
                f"Worst less best: {100 * gap:.1f} percentage points."
                + (f" {more} more values are in groups.parquet." if more else ""),
                class_="muted",
            ),
        ]
    return section("Word error rate by group", *parts)


def transcripts(run: Run) -> Html:
    """Return the last transcripts of a few utterances, with their errors marked."""
    kept = run.transcripts.dropna()
    if not len(kept):
        return Html()
    last = kept[kept["round"] == kept["round"].max()]
    rows = []
    for row in last.to_dict("records"):
        pieces = align(row["reference"], row["hypothesis"])
        wrong, words = sum(piece.errors for piece in pieces), sum(len(piece.said) for piece in pieces)
        rows.append((marked(pieces), row["speaker"], f"{wrong} of {words}"))
    return section(
        "Sample transcripts",
        element(
            "p",
            f"{number(len(rows))} held-out utterances, drawn at random, as recognised after round"
            f" {int(last['round'].iloc[0])}: ",
            element("del", "deleted"),
            ", ",
            element("ins", "inserted"),
            ", and ",
            element("del", "said"),
            ARROW,
            element("ins", "recognised"),
            " for a substitution.",
        ),
        table(("Transcript", "Speaker", "Words wrong"), rows, text_columns=2),
    )


def marked(pieces: Sequence[Piece]) -> Html:
    """Return an aligned transcript with its errors marked."""
    parts: list[object] = []
    for piece in pieces:
        said, heard = " ".join(piece.said), " ".join(piece.heard)
        if piece.correct:
            parts.append(said)
        elif said and heard:
            parts.append(join([element("del", said), ARROW, element("ins", heard)]))
        else:
            parts.append(element("del", said) if said else element("ins", heard))
    return element("span", *[part for each in parts for part in (each, " ")][:-1], dir="auto", class_="transcript")


def failures(run: Run) -> Html:
    """Return which clients failed, and in which rounds."""
    clients = run.clients
    if not len(clients):
        return Html()
    failed = clients[clients["status"].fillna(Status.OK) != Status.OK]
    if not len(failed):
        return section("Failures", element("p", "No client failed."))
    share = len(failed) / len(clients)
    rows = []
    for client, of_client in failed.groupby(failed["client"].astype(str), sort=False):
        at = ", ".join(str(int(round)) for round in of_client["round"].head(LISTED_ROUNDS))
        reason = next(iter(of_client["reason"].dropna()), of_client["status"].iloc[0])
        rows.append((client, reason, at, len(of_client)))
    rows.sort(key=lambda row: -row[3])
    more = len(rows) - LISTED_FAILURES
    return section(
        "Failures",
        element("p", f"{number(len(failed))} of {number(len(clients))} client tasks ({percent(share)}) failed."),
        table(("Client", "Why (the first time)", "In rounds", "Times"), rows[:LISTED_FAILURES], text_columns=3),
        element("p", f"{more} more clients are in clients.parquet.", class_="muted") if more > 0 else "",
    )


def privacy(run: Run) -> Html:
    """Return the privacy ledger as it is, with every assumption it was computed under."""
    if run.privacy is None:
        return Html()
    from fedasr.results.figures import plot

    plain = {key: value for key, value in run.privacy.items() if is_plain(value) and key != "note"}
    facts = [(key.replace("_", " "), "–" if value is None else value) for key, value in plain.items()]
    note = str(run.privacy.get("note") or "")
    drawn = "epsilon" in run.rounds and run.rounds["epsilon"].notna().any()
    return section(
        "Privacy",
        element(
            "p",
            "An ε means something only together with its δ, unit, adjacency, sampling, population, and whether its"
            " randomness was secret.",
        ),
        element("p", f"{note[:1].upper()}{note[1:]}.") if note else "",
        figure(plot.epsilon(run), "ε over the rounds") if drawn else "",
        device_spread(run.privacy),
        table(("What", "Value"), facts, text_columns=2) if facts else "",
        folded("privacy.json", json.dumps(run.privacy, indent=2, ensure_ascii=False)),
    )


def device_spread(privacy: dict[str, Any]) -> Html:
    """Return how ε is spread over devices that keep ledgers of their own."""
    if "clients" not in privacy:
        return Html()
    spread = privacy["clients"]
    counts = [number(spread["clients"]), number(privacy.get("clients_spent", 0))]
    values = [f"{value:.3g}" for value in spread["epsilon"].values()]
    heads = ["Devices", "With nothing left", *(f"ε, {name}" for name in spread["epsilon"])]
    return table(heads, [[*counts, *values]], text_columns=0)


def is_plain(value: object) -> bool:
    """Say whether a JSON value is a single one."""
    return value is None or isinstance(value, (str, int, float, bool))


def repeat(run: Run) -> Html:
    """Return how to repeat the run, and its config."""
    command = f"fedasr run {shlex.quote(str(run.path / 'config.yaml'))} --out {shlex.quote(str(run.path) + '-again')}"
    resume = f"fedasr run {shlex.quote(str(run.path / 'config.yaml'))} --out {shlex.quote(str(run.path))} --resume"
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    return section(
        "Repeat it",
        join(
            []
            if run.finished
            else [
                element("p", "This run has not come to its end. To go on from its last checkpoint:"),
                element("div", element("pre", resume), class_="card"),
            ]
        ),
        element("p", "The same config and seed give the same model, with any number of workers:"),
        element("div", element("pre", command), class_="card"),
        folded("config.yaml", text),
    )


def folded(title: str, text: str) -> Html:
    """Return a text that opens on a click."""
    return element("p", element("details", element("summary", title), element("pre", text), class_="card"))
