"""Seeds: minutes with faults that break no rule, that replay exactly, and that notice a broken rule."""

from __future__ import annotations

import pytest

from segue.testing.faultplan import MINUTE_S, FaultKind, draw
from segue.testing.seeds import main, run_seed
from tests.sim.mutants import MUTANTS, SHOWN_BY

SEEDS = range(24)
# When these are over the arm has to be back in time.
LINK_FAULTS = (
    FaultKind.KILL, FaultKind.STOP, FaultKind.CUT_UP, FaultKind.CUT_DOWN, FaultKind.CUT, FaultKind.FULL,
    FaultKind.DRAIN,
)  # fmt: skip
SEEDS_FOR_A_MUTANT = range(160)
REPLAYED = 3


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_a_rule(seed: int) -> None:
    """A minute at 100 Hz with five faults or more breaks no rule of the checker or of the oracle."""
    result = run_seed(seed)
    assert not result.violations, f"{result.plan}\n" + "\n".join(result.violations[:5])
    assert result.counts["faults"] >= 5
    assert result.counts["chunks"] >= 5


def test_most_of_the_minutes_are_run() -> None:
    """Of the minutes of the seeds most are run, and most of the faults strike."""
    results = [run_seed(seed) for seed in SEEDS]
    assert sum(result.rows for result in results) >= 0.85 * len(SEEDS) * MINUTE_S * 100
    struck, drawn = (sum(result.counts[name] for result in results) for name in ("struck", "faults"))
    assert struck >= 0.85 * drawn


@pytest.mark.parametrize("kind", LINK_FAULTS)
def test_coming_back_is_judged_after_every_fault_of_the_link(kind: FaultKind) -> None:
    """Every kind of fault that cuts the arm off makes it hold in some seed, and its return is judged."""
    assert any(run_seed(seed).counts[f"back after {kind.value}"] for seed in SEEDS_FOR_A_MUTANT), kind


def test_a_seed_replays_exactly() -> None:
    """The same seed gives the same commands bit for bit, another seed gives others."""
    first, again, other = (run_seed(seed) for seed in (REPLAYED, REPLAYED, REPLAYED + 1))
    assert first.digest == again.digest
    assert first == again
    assert first.digest != other.digest


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule of the core broken on purpose, some seed fails."""
    MUTANTS[name](monkeypatch)
    kind = SHOWN_BY.get(name)
    seeds = (s for s in SEEDS_FOR_A_MUTANT if kind is None or any(f.kind is kind for f in draw(s).faults))
    assert any(run_seed(seed).violations for seed in seeds), f"nobody noticed: {name}"


def test_the_command_says_which_seed_failed_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failing seed is printed with its plan, what was wrong and what repeats it; the exit is 1."""
    MUTANTS["merge_by_forecast"](monkeypatch)
    assert main(["--seeds", "1", "--first", "3", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert f"FAILED {draw(3)}" in said
    assert "steps begun since the request" in said
    assert "python -m segue.testing.seeds --first 3 --seeds 1 --jobs 1" in said


def test_the_command_gives_one_line_of_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """Where all is well the command prints the totals alone, from two processes as from one."""
    assert main(["--seeds", "4", "--first", "0", "--jobs", "2"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    alone = sum(run_seed(seed).counts["chunks"] for seed in range(4))
    assert line.startswith("4 seeds, 0 failed: ")
    assert f" {alone} chunks, " in line
