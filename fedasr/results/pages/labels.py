"""The parts of a report about devices without transcripts: their labels, and the error rate that they estimate."""

from __future__ import annotations

import pandas as pd

from fedasr.results.load import Run
from fedasr.results.pages.html import Html, element, table
from fedasr.units import number, percent, percent_range

OF_LABELS = ("kept_share", "label_wer", "empty_share", "blank_share", "teacher_agreement")
SHOWN = 12
LONGEST_TABLE = 40


def own_labels(run: Run) -> Html:
    """Return what became of the devices' own labels over the rounds; nothing where there were none."""
    rounds = run.rounds
    rows = rounds[rounds["kept_share"].notna()]
    if not len(rows):
        return Html()
    last = rows.tail(SHOWN).iloc[::-1]
    body = [[number(row["round"]), *(percent(row[name]) for name in OF_LABELS)] for row in last.to_dict("records")]
    head = ("Round", "Learnt", "WER of the labels", "Empty", "Blank frames", "As the global model")
    note = "Shares of the utterances without transcripts. The error rate of labels is known in a simulation alone."
    return element("section", element("h2", "Labels of the devices' own"), element("p", note), table(head, body, 0))


def estimates(run: Run) -> Html:
    """Return the error rate that was estimated without transcripts beside the true one; nothing without estimates."""
    result = run.estimates
    if not len(result):
        return Html()
    whole = result[result["column"] == ""].tail(SHOWN).iloc[::-1]
    groups = result[(result["column"] != "") & (result["round"] == result["round"].max())].head(LONGEST_TABLE)
    head = (
        "",
        "Estimate",
        "95 % interval",
        "Panel alone",
        "True WER",
        "Panel's words",
        "Speakers",
        "of them panel",
        "Alarms",
    )

    def body(rows: pd.DataFrame, names: list[str]) -> list[tuple[str, ...]]:
        return [
            (
                name,
                percent(row["wer_estimate"]),
                percent_range(row["wer_low"], row["wer_high"]),
                percent_range(row["panel_low"], row["panel_high"]),
                percent(row["fleet_wer"]),
                number(row["panel_words"]),
                number(row["fleet_speakers"] + row["panel_speakers"]),
                number(row["panel_speakers"]),
                row["alarms"] or "",
            )
            for row, name in zip(rows.to_dict("records"), names, strict=True)
        ]

    parts = [table(head, body(whole, [f"Round {number(each)}" for each in whole["round"]]))]
    if len(groups):
        names = (groups["column"] + " " + groups["value"]).tolist()
        parts.append(table(head, body(groups, names)))
    note = (
        "On the devices' own speech, from expected errors that transcripts of a panel correct. The true rate is"
        " known in a simulation alone."
    )
    return element("section", element("h2", "Error rate without transcripts"), element("p", note), *parts)
