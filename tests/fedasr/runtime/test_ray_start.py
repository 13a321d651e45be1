"""Ray on a busy machine: a node that is up too late is started once more. Only Ray's own clock is replaced."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.errors import RunFailed
from fedasr.runtime.ray_start import start_ray
from tests.needs import needs

needs("ray", "what is started is Ray: pip install 'fedasr[ray]'")

pytestmark = pytest.mark.thorough  # to import Ray takes seconds

TOO_LATE = "The current node timed out during startup. This could happen because the GCS has become overloaded."


class Init:
    """What stands for ``ray.init``: fails with the first of the lines that are left, succeeds where none is."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, address: str, **settings: Any) -> None:
        self.calls.append(settings)
        if self.lines:
            raise Exception(self.lines.pop(0))


def started(monkeypatch: pytest.MonkeyPatch, *lines: str) -> Init:
    import ray

    init = Init(*lines)
    monkeypatch.setattr(ray, "init", init)
    return init


def test_a_node_that_is_late_once_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    init = started(monkeypatch, TOO_LATE)
    start_ray(2, log_to_driver=False)
    assert init.calls == [{"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}] * 2


def test_a_node_that_is_late_twice_ends_the_run_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, TOO_LATE, TOO_LATE)
    with pytest.raises(RunFailed, match=r"too busy .* runtime\.name=local"):
        start_ray(2)


def test_another_failure_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    init = started(monkeypatch, "no such option")
    with pytest.raises(Exception, match="no such option"):
        start_ray(2)
    assert len(init.calls) == 1
