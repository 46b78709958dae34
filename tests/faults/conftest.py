"""Collects the rows of the table of faults, and ends every process that a test started."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.report import Row, table
from tests.processes import Arm, Server, Spawned

_ROWS: list[Row] = []
_KEY = pytest.StashKey[Row]()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The row of the table that a test fills in; its marker ``fault(number, fault, promised)`` names it."""
    return _row_of(request.node)


def _row_of(item: pytest.Item) -> Row:
    marker = item.get_closest_marker("fault")
    assert marker is not None
    made = Row(*map(str, marker.args))
    item.stash[_KEY] = made
    _ROWS.append(made)
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Settles a row's verdict by how its test ended."""
    report = yield
    found = item.stash.get(_KEY, None)
    if found is None and report.skipped and item.get_closest_marker("fault"):
        found = _row_of(item)  # left out before its fixtures were made, as where root is needed
    if found is not None and (report.when == "call" or not report.passed):
        why = str(report.longrepr[2]) if report.skipped and isinstance(report.longrepr, tuple) else ""
        found.judge(report.passed, why.removeprefix("Skipped: "))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if _ROWS:
        terminalreporter.write_line("")
        terminalreporter.write_line(table(_ROWS))


@pytest.fixture
def spawned() -> Iterator[list[Spawned]]:
    """Whatever is put here is ended after the test, the youngest first."""
    started: list[Spawned] = []
    yield started
    for each in reversed(started):
        each.end()


@pytest.fixture
def serve(tmp_path: Path, spawned: list[Spawned]) -> Callable[..., Server]:
    """Starts servers that are ready."""

    def start(**wish: Any) -> Server:
        server = Server(tmp_path, **wish)
        spawned.append(server)
        return server.ready()

    return start


@pytest.fixture
def arm(tmp_path: Path, spawned: list[Spawned]) -> Callable[..., Arm]:
    """Starts arms, each with a folder of its own."""

    def start(address: str, name: str = "arm", **wish: Any) -> Arm:
        made = Arm(tmp_path / name, address, robot_id=name, **wish)
        spawned.append(made)
        return made

    return start


@pytest.fixture
def judged() -> Callable[[Arm], int]:
    """Judges an arm's log of commands by the checker, and returns how many there were."""

    def judge(made: Arm) -> int:
        from segue.testing.checker import assert_clean

        header, rows = made.commands()
        assert_clean(rows, header)
        return len(rows)

    return judge


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
