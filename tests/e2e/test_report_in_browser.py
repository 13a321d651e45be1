"""The pages of a real run, opened in a browser without a network."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

import fedasr
from fedasr.results.pages.comparison import write_comparison
from fedasr.results.pages.report import write_report
from fedasr.results.tables.groups import group_runs
from tests.e2e.browser import CHROMIUM, look, screenshot
from tests.e2e.tiny import tiny
from tests.fedasr.results.run_folders import add_activity, add_periods, make_run, simulate_clock, two_strategies

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH; 'apt-get install chromium' lets the pages be opened"
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the pages: the report of a run that trained, of one with every section, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    trained = fedasr.run(tiny(evaluate__by=["gender"]), folder / "trained")
    full = add_periods(add_activity(make_run(folder / "full", summary={"clients": 60}), DECILES), PERIODS)
    (full / "privacy.json").write_text('{"epsilon": 4.2, "delta": 1e-5, "unit": "client"}', encoding="utf-8")
    write_report(simulate_clock(full, 40.0))
    runs = two_strategies(folder / "runs")
    for run in runs:
        simulate_clock(add_periods(add_activity(run, DECILES), PERIODS), 40.0)
    write_comparison(group_runs(runs), folder / "comparison.html", target=0.3)
    return {
        "trained": trained.path / "report.html",
        "full": full / "report.html",
        "comparison": folder / "comparison.html",
    }


DECILES = [0.3, 0.28, 0.25, 0.25, 0.2, 0.2, 0.18, 0.17, 0.15, 0.1]
PERIODS = [[0.5], [0.35, 0.3], [0.3, 0.27, 0.22]]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figures"), [("trained", 4), ("full", 6), ("comparison", 5)])
@pytest.mark.parametrize("width", [400, 1200])
def test_a_page_fetches_nothing_says_nothing_and_shows_all(pages, tmp_path, name, figures, width):
    seen = look(pages[name], tmp_path / "browser", width=width)
    assert seen.requests == []
    assert seen.console == []
    assert seen.found["wide"] == 0  # nobody has to scroll sideways; wide tables scroll in themselves
    assert len(seen.found["figures"]) == figures
    for figure in seen.found["figures"]:
        left, top, right, bottom = figure["box"]
        assert right - left > 250, figure["title"]
        assert bottom - top > 150, figure["title"]
        assert figure["texts"]
        for text, (x0, y0, x1, y1) in figure["texts"]:
            inside = x0 >= left - 1 and x1 <= right + 1 and y0 >= top - 1 and y1 <= bottom + 1
            assert inside, f"'{text}' is cut off in '{figure['title']}'"
    if width == 1200:
        assert seen.found["cut"] == []


def test_a_page_follows_the_readers_scheme(pages, tmp_path):
    light, dark = (look(pages["full"], tmp_path / str(dark), dark=dark).found["scheme"] for dark in (False, True))
    brightness = [sum(map(int, scheme.removeprefix("rgb(").removesuffix(")").split(","))) for scheme in (light, dark)]
    assert brightness[0] > 700 > 100 > brightness[1]


def test_a_page_can_be_photographed(pages, tmp_path):
    picture = imread(screenshot(pages["full"], tmp_path / "browser"))
    assert picture.shape[:2] == (2600, 1200)
    blue = (picture[..., 2] > 0.6) & (picture[..., 0] < 0.1)  # the first series
    assert np.count_nonzero(blue) > 5000


def test_the_checks_would_notice(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><img src="http://pictures.example/a.png"><script>missing()</script>')
    seen = look(page, tmp_path / "open")
    assert seen.requests == ["http://pictures.example/a.png"]
    assert "missing is not defined" in seen.console[0]
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    page.write_text(f'<!doctype html>{policy}<img src="http://pictures.example/a.png"><p style="width:3000px">wide</p>')
    seen = look(page, tmp_path / "closed")
    assert seen.requests == []
    assert any("Content Security Policy" in line for line in seen.console)
