import json
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from fedasr.errors import InputError
from fedasr.results.pages.comparison import write_comparison
from fedasr.results.pages.html import element
from fedasr.results.pages.report import heard, write_report
from fedasr.results.tables.groups import group_runs
from tests.fedasr.results.run_folders import (
    add_activity,
    add_fairness,
    add_periods,
    make_run,
    simulate_clock,
    two_strategies,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Parses a page, checks that its elements nest, and collects what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.collect(attrs)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.collect(attrs)

    def collect(self, attrs):
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.references.append(value)
            if name == "id":
                self.ids.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def assert_self_contained(text: str) -> Page:
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(reference.startswith("#") for reference in page.references)
    assert {reference[1:] for reference in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    # The only addresses are the names of the SVG dialect, which nobody fetches.
    assert set(re.findall(r"https?://[^\"'\s<)]+", text)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    return page


def test_a_report_is_one_page_that_needs_nothing_else(tmp_path):
    folder = make_run(tmp_path / "a")
    path = write_report(folder)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    page = assert_self_contained(text)
    assert page.tags.count("svg") == 4
    for wanted in ("Word error rate", "381,216", "9f" * 32, "13.4 a second", "Gini", "Jain", "fedasr run", ">done<"):
        assert wanted in text
    assert "prefers-color-scheme: dark" in text
    assert "#0072b2" not in text[text.index("<body>") :].lower()  # figures take their colours from the scheme
    assert sorted(p.name for p in folder.iterdir()) == [
        "clients.parquet", "config.yaml", "report.html", "rounds.parquet", "summary.json",
    ]  # fmt: skip


@pytest.mark.thorough
def test_the_same_run_gives_the_same_bytes(tmp_path):
    folder = make_run(tmp_path / "a")
    first, second = (write_report(folder, tmp_path / f"{name}.html").read_bytes() for name in "ab")
    assert first == second


def test_everything_is_escaped(tmp_path):
    evil = "</title><script src=https://x.example/a.js></script><img src=x onerror=alert(1)>"
    folder = make_run(tmp_path / "a", name=evil, selection="<i>uniform")
    clients = pd.read_parquet(folder / "clients.parquet").assign(client=evil, status="failed", reason="<b>")
    clients.to_parquet(folder / "clients.parquet")
    pd.DataFrame({"round": [20], "column": ["<u>"], "value": [evil], "wer": [0.1], "utterances": [3]}).to_parquet(
        folder / "groups.parquet"
    )
    (folder / "privacy.json").write_text(json.dumps({evil: evil}), encoding="utf-8")
    text = write_report(folder).read_text(encoding="utf-8")
    for tag in ("<script", "<img", "<i>", "<b>", "<u>"):
        assert tag not in text
    page = Page(text)
    assert page.references == [ref for ref in page.references if ref.startswith("#")]


def test_groups_failures_and_privacy_are_shown(tmp_path):
    folder = make_run(tmp_path / "a", summary={"epsilon": 4.2, "delta": 1e-5, "clients": 200, "initial_wer": 0.75})
    pd.DataFrame(
        {
            "round": [10, 20, 20], "column": "accent", "value": ["en-gb", "en-gb", "en-scotland"],
            "wer": [0.5, 0.07, 0.13], "utterances": [120, 120, 60],
        }
    ).to_parquet(folder / "groups.parquet")  # fmt: skip
    ledger = {"epsilon": 4.2, "delta": 1e-5, "unit": "client", "releases": [{"noise_multiplier": 1.0}]}
    (folder / "privacy.json").write_text(json.dumps(ledger), encoding="utf-8")
    text = write_report(folder).read_text(encoding="utf-8")
    assert text.index("en-scotland") < text.index("en-gb")  # the worst first
    assert "50.0 %" not in text[text.index("Word error rate by group") : text.index("Failures")]
    assert "6.0 percentage points" in text
    assert "at δ = 1e-05" in text
    assert "noise_multiplier" in text
    assert "client tasks" in text
    assert "75.0 % before training" in text
    assert "of 200" in text


@pytest.mark.thorough
def test_activity_and_periods_are_shown(tmp_path):
    folder = simulate_clock(make_run(tmp_path / "a"), 30.0)
    assert "by activity" not in write_report(folder).read_text(encoding="utf-8")
    add_activity(folder, [0.31, 0.28, 0.25, 0.2, 0.2, 0.2, 0.18, 0.17, 0.15, 0.11])
    add_periods(folder, [[0.5], [0.4, 0.3], [0.45, 0.28, 0.2]])
    text = write_report(folder).read_text(encoding="utf-8")
    page = assert_self_contained(text)
    assert page.tags.count("svg") == 6
    for wanted in ("31.0 %", "heaviest: +20.0 points", "−5.0 points", "−3.5 points", "10 min"):
        assert wanted in text


def test_an_epsilon_without_its_delta_is_not_shown(tmp_path):
    text = write_report(make_run(tmp_path / "a", summary={"epsilon": 4.2})).read_text(encoding="utf-8")
    assert "4.2" not in text[text.index("<h1>") : text.index("Over the rounds")]


@pytest.mark.parametrize("rounds", [0, 1, 3])
@pytest.mark.parametrize("status", [None, "running", "interrupted"])
def test_an_unfinished_run_has_a_report(tmp_path, rounds, status):
    folder = make_run(tmp_path / "a", rounds=rounds, every=2, status=status)
    text = write_report(folder).read_text(encoding="utf-8")
    assert_self_contained(text)
    assert "--resume" in text
    assert ("No round has finished yet" in text) == (rounds == 0)


def test_a_report_where_it_cannot_be(tmp_path):
    folder = make_run(tmp_path / "a")
    with pytest.raises(InputError, match=r"expected FILE\.html"):
        write_report(folder, tmp_path / "report.pdf")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder, tmp_path / "file" / "report.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder, tmp_path / "folder.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "file", "folder.html"]  # nothing half-written stays


@pytest.mark.slow
def test_a_comparison_as_page_table_and_image(tmp_path):
    groups = group_runs(two_strategies(tmp_path / "runs", seeds=2))
    page = write_comparison(groups, tmp_path / "c.html").read_text(encoding="utf-8")
    assert_self_contained(page)
    assert page.count("selection.name=activity") == 2  # the label of its two runs; tables and figures name the key once
    table = pd.read_csv(write_comparison(groups, tmp_path / "c.csv", x="bytes"))
    assert list(table.columns) == ["label", "bytes", "mean", "low", "high", "n"]
    assert set(table["label"]) == {group.label for group in groups}
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        assert write_comparison(groups, tmp_path / f"c{suffix}").read_bytes().startswith(start)
    with pytest.raises(InputError, match=r"did you mean '\.png'"):
        write_comparison(groups, tmp_path / "c.pgn")


@pytest.mark.slow
def test_a_comparison_page_has_a_section_for_what_there_is(tmp_path):
    runs = two_strategies(tmp_path / "runs", seeds=2)
    page = write_comparison(group_runs(runs), tmp_path / "c.html", target=0.2).read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "Until the WER was 20.0 % or less" in page
    assert "WER less that of &#x27;uniform&#x27;, seed by seed" in page
    assert "Forgetting" not in page
    for run in runs:
        simulate_clock(add_periods(add_activity(run, [0.3] * 10), [[0.5], [0.4, 0.3]]), 30.0)
    page = write_comparison(group_runs(runs), tmp_path / "c.html", target=0.2).read_text(encoding="utf-8")
    assert_self_contained(page)
    assert page.count("<svg") == 5
    for wanted in ("Simulated time", "by tenths of activity", "Forgetting", "−10.0 points"):
        assert wanted in page


def test_elements_escape_text_and_keep_markup():
    inner = element("b", "a < b", class_="x", data_y='"')
    assert inner == '<b class="x" data-y="&quot;">a &lt; b</b>'
    assert element("p", inner, " & ", 1) == f"<p>{inner} &amp; 1</p>"


def test_audio_that_devices_do_not_tell_is_no_zero() -> None:
    assert math.isnan(heard(0.0, 12.0))
    assert heard(0.0, 0.0) == 0.0
    assert heard(3.5, 12.0) == 3.5


def test_groups_of_speakers_are_compared_with_gap_ratio_power_and_warnings(tmp_path):
    text = write_report(add_fairness(make_run(tmp_path / "run"))).read_text()
    assert_self_contained(text)
    section = text[text.index("<h2>Fairness</h2>") :]
    for wanted in (
        "&lt;m&gt;",
        "Gap,",
        "95 % interval",
        "Ratio:",
        "p =",
        "To show a gap of 5.0 points",
        "&#x27;x&#x27;",
    ):
        assert wanted in section, wanted
    assert "nan" not in section
    assert "<h2>Fairness</h2>" not in write_report(make_run(tmp_path / "plain")).read_text()


def test_a_damaged_comparison_of_groups_is_named(tmp_path):
    run = add_fairness(make_run(tmp_path / "run"))
    (run / "fairness.json").write_text('[{"attribute": "gender"}]')
    with pytest.raises(InputError, match=r"fairness\.json: holds no list"):
        write_report(run)
