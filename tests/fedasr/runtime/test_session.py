"""The signals that ask a run to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from fedasr.runtime.session import STOPPING, session, signals_held, signals_kept


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """What a process ignores stays ignored (``nohup``), so each test begins with handlers of its own."""
    inherited = {number: signal.signal(number, signal.default_int_handler) for number in STOPPING}
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    after = {number: signal.getsignal(number) for number in STOPPING}
    for number, handler in inherited.items():
        signal.signal(number, handler)
    assert after == before


class Notes:
    """A watcher that keeps what it is told, or whose terminal is gone."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone
        self.notes: list[str] = []

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None: ...

    def round(self, row: object) -> None: ...

    def end(self) -> None: ...

    def note(self, text: str) -> None:
        if self.gone:
            raise OSError(5, "Input/output error")
        self.notes.append(text)


@pytest.mark.parametrize("number", STOPPING)
def test_the_first_asks(number: signal.Signals) -> None:
    watcher = Notes()
    with session(watcher) as now:
        assert not now.stop.is_set()
        signal.raise_signal(number)
        assert now.stop.is_set()
    assert len(watcher.notes) == 1


@pytest.mark.parametrize("number", [number for number in STOPPING if number != signal.SIGINT])
def test_the_same_request_may_come_several_times(number: signal.Signals) -> None:
    with session(Notes()):
        for _ in range(3):
            signal.raise_signal(number)


@pytest.mark.parametrize("first", STOPPING)
def test_ctrl_c_after_it_is_hard(first: signal.Signals) -> None:
    with session(Notes()):
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_terminal_that_is_gone_does_not_end_the_run() -> None:
    with session(Notes(gone=True)) as now:
        signal.raise_signal(signal.SIGHUP)
        assert now.stop.is_set()
        now.watcher.note("unheard")


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with session(Notes()) as now:
            signal.raise_signal(signal.SIGHUP)
            assert not now.stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_library_that_takes_a_signal_gives_it_back() -> None:
    with session(Notes()) as now:
        with signals_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
        assert now.stop.is_set()


def test_what_is_written_is_written_whole_though_signals_come_meanwhile() -> None:
    written = []

    def write() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            written.append("whole")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert written == ["whole"]
