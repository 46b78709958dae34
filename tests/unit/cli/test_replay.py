"""`segue replay`: what a replay is as a run, and what is refused before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.replay import LastStep, main, run_config
from segue.client.commands import CommandLogHeader, header_line
from segue.client.messages import Message, Stop
from segue.client.operator import Desk
from segue.config.load import load
from segue.config.replay import ReplayConfig
from segue.core.specs import Dimension
from segue.errors import ConfigError, UsageError


def test_a_replay_is_a_run_with_the_same_robot_and_safety() -> None:
    """Robot, safety, rate and records are passed on as they are; the policy is the one on loopback."""
    flags = ["--run=there", "--robot.type=fake", "--robot.id=left", "--safety.park_s=2", "--control_hz=50"]
    config = load(ReplayConfig, [*flags, "--dry_run", "--output_dir=here", "--realtime=false"]).config
    run = run_config(config, "127.0.0.1:1234")
    assert (run.robot, run.safety) == (config.robot, config.safety)
    assert run.robot.id == "left"
    assert run.safety.park_s == 2.0
    assert run.execution.control_hz == 50.0
    assert not run.execution.realtime
    assert run.job.dry_run
    assert run.output.output_dir == Path("here")
    assert run.link.server_address == "127.0.0.1:1234"


@pytest.mark.parametrize("speed", ["0.04", "1.1", "fast"])
def test_a_pace_is_a_twentieth_to_the_whole(speed: str) -> None:
    """Faster than recorded is never allowed, nor so slow that it looks like a hang."""
    with pytest.raises(UsageError, match=rf"--speed={speed}: .*from 0\.05 to 1"):
        load(ReplayConfig, ["--run=there", "--robot.type=fake", f"--speed={speed}"])


def test_a_folder_without_commands_is_refused(tmp_path: Path) -> None:
    """What cannot be replayed is refused with the flag's name, and leaves no folder."""
    with pytest.raises(ConfigError, match=r"--run: .*has no commands\.csv"):
        main([f"--run={tmp_path}", "--robot.type=fake", f"--output_dir={tmp_path / 'out'}"])
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_log_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    """A log with NaN in a command ends with 78 and the name of the file, and leaves no folder."""
    header = CommandLogHeader(100.0, 10.0, 0.2, 0.3, 4.0, (Dimension("shoulder_pan", "deg"),))
    log = tmp_path / "commands.csv"
    log.write_bytes(header_line(header) + b"0,0,RUN,1,0,0,1000,7,nan\n")
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"commands\.csv: is no log of commands: line 3") as refused:
        main([f"--run={tmp_path}", "--robot.type=fake", f"--output_dir={out}"])
    assert refused.value.exit_code == 78
    assert not out.exists()


def test_the_end_is_asked_for_while_somebody_listens() -> None:
    """Before and after, the end of a recording is nobody's business."""
    heard: list[Message] = []

    def tell(message: Message) -> bool:
        heard.append(message)
        return True

    last = LastStep()
    last.reached()
    with last.listen(Desk(tell, lambda number: None)):
        last.reached()
    last.reached()
    assert heard == [Stop("done")]
