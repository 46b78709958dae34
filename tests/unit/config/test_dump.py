"""What is written back loads to the same configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.config import load_run, load_serve
from segue.config.dump import to_yaml


@pytest.mark.parametrize(
    "argv",
    [
        ["--robot.type=fake"],
        [
            "--robot.type=sim_so101", "--robot.belt.speed_m_s=0.05", "--task=null", "--robot.id=1e3",
            "--robot.cameras={front: {type: fake, width: 64}, top: {type: sim, fps: 15}}",
            "--duration=60", "--output_dir=some/where", "--fps=29.97",
        ],
        ["--robot.type=fake", "--inference.rtc.execution_horizon=12", "--inference.rtc.mode=TRAINED"],
    ],
    ids=["defaults", "everything", "lerobot"],
)  # fmt: skip
def test_a_resolved_configuration_survives_the_file(tmp_path: Path, argv: list[str]) -> None:
    """The file that a run leaves behind loads to the run's own configuration."""
    config = load_run(argv).config
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_run([f"--config_path={path}"]).config == config


@settings(max_examples=100, deadline=None)
@given(task=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40))
def test_any_task_survives_the_file(tmp_path_factory: pytest.TempPathFactory, task: str) -> None:
    """Whatever a task is called, YAML gives it back as it was."""
    if not task.isprintable():
        return
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    config = load_run(["--robot.type=fake", f"--task={task}"]).config
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load_run([f"--config_path={path}"]).config.job.task == task


def test_a_server_s_configuration_survives_the_file(tmp_path: Path) -> None:
    """The same holds for the server."""
    config = load_serve(["--port=0", "--policy.device=cpu", "--inference_latency=0.25"]).config
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_serve([f"--config_path={path}"]).config == config
