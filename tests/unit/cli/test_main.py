"""The command finds its verbs, turns errors into one line and a code, and answers --help at once."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import pytest

from segue import __version__
from segue.cli import main as module
from segue.cli.main import VERBS, main
from segue.errors import LinkLost, SafetyLatch, SpecMismatch

SEGUE = (sys.executable, "-m", "segue.cli.main")


def verb_that(monkeypatch: pytest.MonkeyPatch, raises: BaseException) -> None:
    fake = ModuleType("fake_verb")

    def run(argv: Sequence[str]) -> int:
        raise raises

    fake.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_verb", fake)
    monkeypatch.setattr(module, "VERBS", {"fake": module.Verb("fake_verb", "")})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LinkLost("gone"), 69),
        (SpecMismatch(["a", "b"]), 76),
        (SafetyLatch("hot"), 80),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_becomes_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    """What Segue raises on purpose is one line on standard error and its own code."""
    verb_that(monkeypatch, error)
    assert main(["fake"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == (0 if isinstance(error, KeyboardInterrupt) else 1)


def test_a_bug_is_one_sentence_unless_a_traceback_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception ends with 70 and a hint, and with --debug it comes through whole."""
    verb_that(monkeypatch, ZeroDivisionError("oh\nno"))
    assert main(["fake"]) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--debug" in err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "fake"])


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """--version says the version, --help lists every verb, and no verb at all is a usage error."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segue {__version__}\n"
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in VERBS)
    assert main([]) == 64
    assert main(["fly"]) == 64
    assert "run, replay, serve, demo, bench" in capsys.readouterr().err


def test_help_may_come_first_and_a_slip_is_set_right(capsys: pytest.CaptureFixture[str]) -> None:
    """`segue help run` is run's own page, and a verb nearly right is proposed."""
    assert main(["help", "run"]) == 0
    assert capsys.readouterr().out.startswith("segue run: ")
    assert main(["rum"]) == 64
    assert "did you mean run?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb explains itself and its flags."""
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"segue {verb}: {VERBS[verb].summary}")
    assert "--config_path" in out


def test_help_loads_nothing_heavy() -> None:
    """`segue run --help` is answered without numpy, grpc, pydantic or MuJoCo."""
    code = (
        "import sys; from segue.cli.main import main; main(['run', '--help']); "
        "heavy = {'numpy', 'grpc', 'pydantic', 'mujoco', 'torch', 'yaml', 'matplotlib'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.e2e
def test_help_is_there_within_a_second() -> None:
    """`segue run --help` takes at most a second of wall time in a process of its own."""
    times = []
    for _ in range(3):
        begun = time.monotonic()
        subprocess.run(
            [*SEGUE, "run", "--help"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        times.append(time.monotonic() - begun)
    assert statistics.median(times) <= 1.0


@pytest.mark.e2e
def test_a_wrong_flag_prints_one_line_and_nothing_else() -> None:
    """A real process refuses a wrong flag with 64, one line, no traceback and no folder."""
    done = subprocess.run(
        [*SEGUE, "run", "--robot.type=fake", "--fps=fast"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr == b"segue: --fps=fast: expected a number above 0, at most 1000, or null\n"


@pytest.mark.e2e
def test_a_reader_that_goes_away_is_no_bug() -> None:
    """A closed pipe ends the command quietly, as it ends any other."""
    command = f"{sys.executable} -m segue.cli.main run --help | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
