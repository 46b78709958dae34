"""A child is heard, and ended in any case."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segue.cli import children
from segue.cli.children import Child

pytestmark = pytest.mark.e2e

SLEEP = "import signal, sys, time; signal.signal(2, {}); print({!r}, flush=True); time.sleep(60)"
STUBBORN = SLEEP.format("signal.SIG_IGN", "deaf")
POLITE = SLEEP.format("lambda *_: sys.exit(7)", "hears")


def child_of(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Starts a child that runs `code` instead of the command."""
    real = subprocess.Popen
    monkeypatch.setattr(
        children.subprocess, "Popen", lambda words, **kw: real([sys.executable, "-c", code], **kw)
    )
    return Child("child", [], tmp_path / "child.log", {})


def test_what_a_child_says_is_heard(tmp_path: Path) -> None:
    """A line of a real command is found as soon as it is there, and its code afterwards."""
    child = Child("version", ["--version"], tmp_path / "version.log", {})
    assert child.wait_for(re.compile(r"segue (\S+)"), 60) is not None
    assert child.wait(30) == 0
    assert child.end(signal.SIGINT, 30) == 0
    assert "segue" in child.last_words()


def test_a_child_that_ends_without_a_word_is_not_waited_for(tmp_path: Path) -> None:
    """Waiting ends with the child, long before the time is up."""
    child = Child("nothing", ["no-such-verb"], tmp_path / "nothing.log", {})
    assert child.wait_for(re.compile("(never said)"), 600) is None
    assert child.end(signal.SIGINT, 1) == 64


def test_a_child_that_hears_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal is enough for one that listens, and its own exit code is kept."""
    child = child_of(POLITE, tmp_path, monkeypatch)
    assert child.wait_for(re.compile("(hears)"), 60)
    assert child.end(signal.SIGINT, 30) == 7


def test_a_child_that_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores the signal is gone after its grace."""
    child = child_of(STUBBORN, tmp_path, monkeypatch)
    assert child.wait_for(re.compile("(deaf)"), 60)
    assert child.end(signal.SIGINT, 0.2) == -signal.SIGKILL


def test_a_child_is_left_behind_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever breaks off the waiting for its end leaves no child behind."""
    child = child_of(STUBBORN, tmp_path, monkeypatch)
    assert child.wait_for(re.compile("(deaf)"), 60)

    def broken_off(grace_s: float) -> None:
        raise SystemExit(130)

    monkeypatch.setattr(child, "wait", broken_off)
    with pytest.raises(SystemExit):
        child.end(signal.SIGINT, 30)
    assert child._process.wait(10) == -signal.SIGKILL
