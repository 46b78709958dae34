"""Flags over file over defaults, and what is said when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segue.config import DemoConfig, load, load_run, load_serve
from segue.config.cameras import SimCameraConfig
from segue.config.release import ReleaseConfig
from segue.config.robot import SimSo101Config
from segue.errors import ConfigError, UsageError

SIM = "--robot.type=sim_so101"
ARM = "--robot={type: so101_follower, port: /dev/ttyACM0}"


def refusal(*argv: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_run(argv)
    assert "\n" not in str(caught.value)
    return caught.value


def file_refusal(path: Path, text: str) -> ConfigError:
    path.write_text(text)
    return refusal(f"--config_path={path}")


def test_a_lerobot_command_line_loads_unchanged() -> None:
    """The arguments that LeRobot's robot client is given are understood as they are."""
    argv = [
        "--server_address=127.0.0.1:8080",
        SIM,
        "--robot.id=my_arm",
        "--robot.cameras={ front: {type: sim, width: 320, height: 240, fps: 15}}",
        "--task=lift the cubes",
        "--policy_type=smolvla",
        "--pretrained_name_or_path=builtin:belt",
        "--policy_device=cuda",
        "--client_device=cpu",
        "--actions_per_chunk=40",
        "--chunk_size_threshold=0.7",
        "--aggregate_fn_name=latest_only",
        "--debug_visualize_queue_size=True",
    ]
    loaded = load_run(argv)
    config = loaded.config
    assert config.robot.id == "my_arm"
    assert config.robot.cameras == {"front": SimCameraConfig(width=320, height=240, fps=15.0)}
    assert config.job.task == "lift the cubes"
    assert config.job.pretrained_name_or_path == "builtin:belt"
    assert (config.execution.actions_per_chunk, config.execution.chunk_size_threshold) == (40, 0.7)
    assert config.execution.aggregate_fn_name == "latest_only"
    assert config.output.debug_visualize_queue_size is True
    noted = [note.split()[0] for note in loaded.notes]
    assert noted == ["--policy_type", "--policy_device", "--client_device", "--aggregate_fn_name"]


def test_values_may_follow_an_equals_sign_or_a_space() -> None:
    """`--key=value`, `--key value` and a bare switch mean the same."""
    spaced = load_run(["--robot.type", "fake", "--fps", "20", "--debug_visualize_queue_size"]).config
    joined = load_run(["--robot.type=fake", "--fps=20", "--debug_visualize_queue_size=true"]).config
    assert spaced == joined


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    """Of a map in the file, a flag below it changes one key and leaves the others."""
    path = tmp_path / "run.yaml"
    path.write_text(
        "robot: {type: sim_so101, belt: {speed_m_s: 0.05, max_cubes: 7}}\nfps: 20\nsafety: {play_out_s: 2}\n"
    )
    config = load_run([f"--config_path={path}", "--robot.belt.speed_m_s=0.1", "--fps=25"]).config
    assert isinstance(config.robot, SimSo101Config)
    assert (config.robot.belt.speed_m_s, config.robot.belt.max_cubes) == (0.1, 7)
    assert config.execution.fps == 25
    assert (config.safety.play_out_s, config.safety.hold_grace_s) == (2, 10)


def test_text_stays_text_whatever_yaml_would_make_of_it(tmp_path: Path) -> None:
    """A task called `no` and a robot called `007` keep their names, in a file and as a flag."""
    path = tmp_path / "run.yaml"
    path.write_text("robot: {type: fake, id: 007}\ntask: no\n")
    from_file = load_run(["--config_path", str(path)]).config
    from_flags = load_run(["--robot.type=fake", "--robot.id=007", "--task=no"]).config
    assert from_file == from_flags
    assert (from_file.robot.id, from_file.job.task) == ("007", "no")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], ["--robot.type", "sim_so101, fake"]),
        (["--robot.type=so1O1"], ["--robot.type=so1O1", "sim_so101, fake"]),
        ([SIM, "--fps=fast"], ["--fps=fast", "a number above 0, at most 1000"]),
        ([SIM, "--fps=nan"], ["--fps=nan", "a number above 0"]),
        ([SIM, "--fps=0"], ["--fps=0", "a number above 0"]),
        ([SIM, "--actions_per_chunk=2.5"], ["--actions_per_chunk=2.5", "a whole number from 1 to 1000"]),
        ([SIM, "--chunk_size_threshold=1.5"], ["--chunk_size_threshold=1.5", "a number from 0 to 1"]),
        ([SIM, "--strategy=fast"], ["--strategy=fast", "rtc, async, sync"]),
        ([SIM, "--debug_visualize_queue_size=maybe"], ["=maybe", "true or false"]),
        ([SIM, "--server_address=8080"], ["--server_address=8080", "host:port"]),
        ([SIM, "--task=a\nb"], ["--task='a\\nb'", "one line of text"]),
        ([SIM, "--chunk-size-treshold=1"], ["--chunk-size-treshold", "did you mean --chunk_size_threshold?"]),
        ([SIM, "--robot.belt.sped_m_s=1"], ["did you mean --robot.belt.speed_m_s?"]),
        ([SIM, "--zzz=1"], ["--zzz", "no such flag", "--help"]),
        ([SIM, "--fps"], ["--fps", "a value is missing"]),
        ([SIM, "fps=3"], ["fps=3", "--key=value"]),
        ([SIM, "--display_data=true"], ["--display_data", "LeRobot's", "--output_dir"]),
        ([SIM, "--robot.cameras={front: {type: opencv"], ["--robot.cameras", "YAML", "line 1"]),
        (
            [SIM, "--robot.cameras={front: {type: webcam}}"],
            ["--robot.cameras.front.type=webcam", "sim, opencv, file, http, fake"],
        ),
        (
            [SIM, "--robot.cameras={front: {type: opencv}}"],
            ["--robot.cameras.front.index_or_path", "is required", "a path such as /dev/video2"],
        ),
        (
            ["--robot.type=fake", "--robot.cameras={front: {type: opencv, index_or_path: video0}}"],
            ["--robot.cameras.front.index_or_path=video0", "a number, or a path"],
        ),
        (
            ["--robot.type=fake", "--robot.cameras={front: {type: sim}}"],
            ["--robot.cameras.front.type=sim", "opencv, file, http, fake", "not simulated"],
        ),
        ([SIM, "--robot.cameras={side: {type: sim}}"], ["--robot.cameras.side", "top, front, wrist"]),
        ([SIM, "--record_camera=side"], ["--record_camera=side", "one of top, front, wrist"]),
        (["--robot.type=fake", "--record_camera=front"], ["--record_camera=front", "no cameras"]),
        ([SIM, "--episode_time_s=3"], ["--episode_time_s=3", "each cube is an episode", "null"]),
        ([SIM, "--reset_time_s=3"], ["--reset_time_s=3", "each cube is an episode", "null"]),
        ([SIM, "--episodes=3", "--robot.belt.max_cubes=4"], ["--episodes=3", "robot.belt.max_cubes=4"]),
        (["--robot.type=so101_follower"], ["--robot.port", "is required"]),
        (["--robot.type=so101_leader"], ["=so101_leader", "sim_so101, fake, so101_follower", "by hand"]),
        (["--robot.type=bi_so101_follower"], ["=bi_so101_follower", "two arms at once"]),
        ([SIM, "--robot.port=/dev/ttyACM0"], ["--robot.port", "no such key"]),
        ([ARM, "--robot.max_relative_target=5"], ["--robot.max_relative_target", "--robot.max_speed=150"]),
        ([ARM, "--robot.max_speed=0"], ["--robot.max_speed=0", "above 0"]),
        ([ARM, "--robot.cameras={top: {type: sim}}"], ["--robot.cameras.top.type=sim", "not simulated"]),
        ([SIM, "--return_to_initial_position=false"], ["--return_to_initial_position=false", "not real"]),
        ([SIM, "--inference.type=rtc"], ["--inference.type", "--strategy", "rtc, async or sync"]),
        ([SIM, "--strategy.type=base"], ["--strategy.type", "--strategy", "rtc, async or sync"]),
        ([SIM, "--display_data"], ["--display_data", "LeRobot's", "--output_dir"]),
        ([SIM, "--fps=20", "--task=a", "--fps=30"], ["--fps", "given 2 times"]),
        ([SIM, "--robot.cameras={front: {type: sim, widht: 3}}"], ["front.widht", "did you mean width?"]),
        ([SIM, "--robot.cameras={'a b': {type: sim}}"], ["a b", "letters"]),
        (["--robot.type=fake", "--robot.belt={}"], ["--robot.belt", "no such key", "cameras, id, type"]),
        (
            [SIM, "--min_execution_steps=10", "--actions_per_chunk=8"],
            ["--min_execution_steps=10", "at most actions_per_chunk=8"],
        ),
        ([SIM, "--fps=200", "--control_hz=100"], ["--fps=200", "at most control_hz=100"]),
        ([ARM, "--fps=300"], ["--fps=300", "at most 200 times a second"]),
        (
            [SIM, "--robot.cameras={top: {type: sim}}", "--record_camera=front"],
            ["--record_camera=front", "expected one of top"],
        ),
    ],
)
def test_a_wrong_flag_is_refused_with_key_and_what_is_allowed(argv: list[str], parts: list[str]) -> None:
    """A wrong flag ends with exit code 64 and one line that helps."""
    error = refusal(*argv)
    assert error.exit_code == 64
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("robot: {type: fake}\nfps: fast\n", ["run.yaml", "fps: fast", "a number above 0"]),
        ("robot: {type: fake}\nfsp: 30\n", ["fsp", "did you mean fps?"]),
        ("robot: {type: fake}\nsafety: {hold_grace: 1}\n", ["safety.hold_grace", "hold_grace_s"]),
        ("robot: fake\n", ["robot: fake", "a map"]),
        ("robot: {type: fake}\nfps: [1]\n", ["fps: ['1']", "a number"]),
        ("robot: {type: fake}\ndisplay_data: true\n", ["display_data", "LeRobot's"]),
        ("fps: 30\n", ["robot.type", "sim_so101, fake"]),
        ("robot: {type: so101_leader, port: /dev/ttyACM0}\n", ["robot.type: so101_leader", "by hand"]),
        (
            "robot: {type: so100_follower, port: /dev/ttyACM0, max_relative_target: 5}\n",
            ["robot.max_relative_target", "--robot.max_speed=150"],
        ),
        ("robot: {type: fake, cameras: {a: {type: tv}}}\n", ["robot.cameras.a.type: tv", "opencv", "fake"]),
        ("robot: {type: sim_so101}\nrecord_camera: side\n", ["record_camera: side", "top, front, wrist"]),
        ("- a\n- b\n", ["a map of keys and values"]),
        ("a: [\n", ["not valid YAML", "line 2"]),
        ("[" * 5000, ["YAML"]),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_key(tmp_path: Path, text: str, parts: list[str]) -> None:
    """A wrong value in the file ends with exit code 78 and names file, key and what is allowed."""
    error = file_refusal(tmp_path / "run.yaml", text)
    assert error.exit_code == 78
    assert "run.yaml" in str(error)
    for part in parts:
        assert part in str(error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there ends with exit code 78."""
    error = refusal(f"--config_path={tmp_path / 'none.yaml'}")
    assert (error.exit_code, "none.yaml" in str(error)) == (78, True)


def test_a_file_of_bytes_or_without_end_is_refused(tmp_path: Path) -> None:
    """Neither a picture nor a device that never ends is read as a configuration."""
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    assert "UTF-8" in str(refusal(f"--config_path={picture}"))
    assert "128 KiB" in str(refusal("--config_path=/dev/zero"))


def test_a_wrong_flag_beside_a_good_file_is_a_wrong_flag(tmp_path: Path) -> None:
    """The exit code says whose value is wrong, also when both were read."""
    path = tmp_path / "run.yaml"
    path.write_text("robot: {type: fake}\n")
    with pytest.raises(UsageError):
        load_run([f"--config_path={path}", "--fps=fast"])


def test_a_bomb_of_aliases_is_refused_quickly(tmp_path: Path) -> None:
    """A file whose aliases would unfold to gigabytes is refused in one short line."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{c}: &{c} [{', '.join(['*' + p] * 9)}]" for p, c in zip("abcdefgh", "bcdefghi", strict=True)]
    error = file_refusal(tmp_path / "run.yaml", "\n".join([*lines, "fps: *i", "robot: {type: fake}"]))
    assert len(str(error)) < 500


def test_serve_is_bound_to_loopback_unless_a_person_insists() -> None:
    """An address that others can reach is refused until --insecure stands beside it."""
    with pytest.raises(UsageError, match=r"--host=0\.0\.0\.0.*--insecure"):
        load_serve(["--host=0.0.0.0"])
    assert load_serve(["--host=0.0.0.0", "--insecure"]).config.listen.insecure
    for host in ("127.0.0.1", "::1", "localhost"):
        assert load_serve([f"--host={host}"]).config.listen.host == host


@pytest.mark.parametrize(
    ("argv", "missing"),
    [
        (["--tls.cert_file=c", "--tls.key_file=k"], "add --auth.token_file or --tls.client_ca_file"),
        (["--auth.token_file=t"], "add --tls.cert_file and --tls.key_file"),
    ],
)
def test_serve_says_what_an_open_address_still_needs(argv: list[str], missing: str) -> None:
    """The refusal names the flags that are missing, the verb that makes the files, and the way around."""
    with pytest.raises(UsageError) as refused:
        load_serve(["--host=0.0.0.0", *argv])
    assert all(part in str(refused.value) for part in (missing, "`segue keys`", "--insecure"))
    load_serve(["--host=0.0.0.0", "--insecure", *argv])


def test_serve_listens_anywhere_with_tls_and_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS with a token, from a file or the environment, or with robots' certificates opens every address."""
    tls = ["--host=0.0.0.0", "--tls.cert_file=c", "--tls.key_file=k"]
    load_serve([*tls, "--auth.token_file=t"])
    load_serve([*tls, "--tls.client_ca_file=ca"])
    monkeypatch.setenv("SEGUE_TOKEN", "t" * 40)
    load_serve(tls)


@pytest.mark.parametrize("load", [load_serve, lambda argv: load_run(["--robot.type=fake", *argv])])
@pytest.mark.parametrize(("given", "missing"), [("cert_file", "key_file"), ("key_file", "cert_file")])
def test_half_a_pair_of_certificate_and_key_is_refused(
    load: Callable[[list[str]], object], given: str, missing: str
) -> None:
    """Either end names the half that is missing, with the exit code of a wrong flag."""
    with pytest.raises(UsageError, match=rf"^--tls\.{given}=x: needs tls\.{missing} beside it$"):
        load([f"--tls.{given}=x"])


def test_a_token_is_no_flag() -> None:
    """There is no flag that takes the token itself: the machine's other users could read it."""
    with pytest.raises(UsageError, match="no such flag"):
        load_serve(["--auth.token=x"])


def test_server_flags_of_lerobot_are_taken_with_a_reason() -> None:
    """LeRobot's server flags that mean nothing here are noted, each with the reason."""
    loaded = load_serve(["--port=0", "--fps=30", "--obs_queue_timeout=2", "--inference_latency=0.3"])
    assert len(loaded.notes) == 2
    assert all("is ignored:" in note for note in loaded.notes)
    assert loaded.config.serving.inference_latency == 0.3


def test_the_demo_has_a_configuration_too() -> None:
    """The demo's flags are checked like all others."""
    assert load(DemoConfig, ["--duration=20"]).config.duration == 20
    with pytest.raises(UsageError, match="--duration=1: expected a number from 5 to 3600"):
        load(DemoConfig, ["--duration=1"])


@pytest.mark.parametrize(
    ("argv", "idle"),
    [
        (["--strategy=async", "--rtc.max_weight=3"], ["--rtc.max_weight"]),
        (["--strategy=sync", "--inference.rtc.execution_horizon=12"], ["--inference.rtc.execution_horizon"]),
        (["--strategy=sync", "--aggregate_fn_name=average"], ["--aggregate_fn_name"]),
        (["--strategy=rtc", "--aggregate_fn_name=average", "--rtc.max_weight=3"], ["--aggregate_fn_name"]),
        (["--aggregate_fn_name=average", "--chunk_size_threshold=0.3"], ["--aggregate_fn_name"]),
        (
            ["--strategy=sync", "--chunk_size_threshold=0.3", "--min_execution_steps=3", "--sync_aligned"],
            ["--chunk_size_threshold", "--min_execution_steps"],
        ),
        (["--strategy=rtc", "--sync_aligned"], ["--sync_aligned"]),
        (["--inference.rtc.enabled=false", "--aggregate_fn_name=average"], []),
    ],
)
def test_a_flag_that_the_strategy_does_not_use_is_noted(argv: list[str], idle: list[str]) -> None:
    """What changes nothing is taken, with a note that names flag and strategy."""
    loaded = load_run([SIM, *argv])
    assert [note.split()[0] for note in loaded.notes] == idle
    strategy = loaded.config.execution.strategy
    means = "--strategy is auto" if strategy == "auto" else f"--strategy={strategy}"
    assert all(means in note for note in loaded.notes)


@pytest.mark.parametrize(
    "argv",
    [
        ["--actions_per_chunk=8"],
        ["--actions_per_chunk=1"],
        ["--min_execution_steps=60"],
        ["--min_execution_steps=1000"],
        ["--fps=150"],
        ["--fps=30", "--actions_per_chunk=5", "--chunk_size_threshold=0"],
    ],
)
def test_a_flag_by_itself_contradicts_no_default(argv: list[str]) -> None:
    """Nobody is refused for what he did not say: what a flag leaves open follows from it."""
    config = load_run([SIM, *argv]).config
    rule = config.execution
    assert config.execution.commands_hz >= (rule.fps or 0)


def test_what_a_file_says_beside_a_flag_is_no_contradiction(tmp_path: Path) -> None:
    """A file may hold what an earlier run wrote down, so a flag that does not go with it is taken."""
    path = tmp_path / "config.yaml"
    path.write_text("robot: {type: fake}\nmin_execution_steps: 10\nactions_per_chunk: 50\n")
    loaded = load_run([f"--config_path={path}", "--actions_per_chunk=8"])
    assert (loaded.config.execution.actions_per_chunk, loaded.notes) == (8, ())
    loaded = load_run([f"--config_path={path}", "--min_execution_steps=60"])
    assert loaded.config.execution.min_execution_steps == 60


def test_a_file_that_holds_everything_is_loaded_without_notes(tmp_path: Path) -> None:
    """Defaults that a run wrote down are nobody's mistake."""
    path = tmp_path / "config.yaml"
    path.write_text("robot: {type: fake}\nstrategy: sync\naggregate_fn_name: average\nrtc: {max_weight: 5}\n")
    assert load_run([f"--config_path={path}"]).notes == ()


def test_a_late_refusal_of_a_flag_is_a_wrong_flag() -> None:
    """What a room refuses is blamed on the flag that said it, and else on whoever did."""
    loaded = load_serve(["--port=0", "--policy.path=builtin:none"])
    with pytest.raises(UsageError, match=r"^--policy\.path: unknown"), loaded.blaming_flags():
        raise ConfigError("policy.path: unknown")
    with pytest.raises(UsageError, match=r"^--host, port: taken"), loaded.blaming_flags():
        raise ConfigError("host, port: taken")
    with pytest.raises(ConfigError) as caught, loaded.blaming_flags():
        raise ConfigError("policy.device: not here")
    assert caught.value.exit_code == 78


def test_a_serial_arm_is_not_asked_faster_than_it_can_answer() -> None:
    """A rate that leaves no room for an answer is refused before torque comes on."""
    words = ["--robot.type=so101_follower", "--robot.port=/dev/ttyACM0"]
    with pytest.raises(UsageError, match=r"control_hz.*at most 200"):
        load_run([*words, "--control_hz=250"])
    assert load_run([*words, "--control_hz=200"]).config.execution.control_hz == 200


def test_a_park_pose_and_staying_contradict_each_other() -> None:
    """An arm cannot both go to a pose in the end and stay where it is."""
    words = ["--robot.type=so101_follower", "--robot.port=/dev/ttyACM0", "--return_to_initial_position=false"]
    pose = "{shoulder_pan: 0, shoulder_lift: 0, elbow_flex: 0, wrist_flex: 0, wrist_roll: 0, gripper: 0}"
    with pytest.raises(ConfigError, match=r"contradicts robot\.park_pose"):
        load_run([*words, f"--robot.park_pose={pose}"])
    assert not load_run(words).config.job.return_to_initial_position


def test_the_file_of_an_arm_serves_every_verb_that_concerns_it(tmp_path: Path) -> None:
    """What a run alone needs is passed over in the file; as a flag, or misspelt, it is refused as ever."""
    path = tmp_path / "arm.yaml"
    path.write_text(
        "server_address: box:8080\ntask: wave\nsafety: {hold_grace_s: 3}\nrobot: {type: so101_follower, "
        "port: /dev/ttyACM0, id: blue, max_speed: 90, cameras: {top: {type: opencv, index_or_path: 2}}}\n"
    )
    loaded = load(ReleaseConfig, [f"--config_path={path}", "--yes=true"], of_an_arm=True).config
    assert (loaded.robot.port, loaded.robot.id, loaded.yes) == ("/dev/ttyACM0", "blue", True)
    with pytest.raises(UsageError, match="no such flag"):
        load(ReleaseConfig, [f"--config_path={path}", "--task=wave"], of_an_arm=True)
    path.write_text("robot: {port: /dev/ttyACM0, idd: blue}")
    with pytest.raises(ConfigError, match="idd"):
        load(ReleaseConfig, [f"--config_path={path}"], of_an_arm=True)


@pytest.mark.parametrize(
    "address",
    ["gpu-box", ":1", "gpu-box:", "gpu:0", "gpu:65536", "gpu:99999999999", "gpu:-1", "gpu:٣", "gpu:8_0",
     "::1:8080", "[::1]", "[::1:80", "[fe80::1%]:1", "[fe80::1%a b]:1", "[fe80::1%e\x1b]:1", "[fe80::1%é]:1",
     "http://gpu:80", "dns:///gpu:80", "dns:gpu:80", "unix:/tmp/x", "unix:/tmp/x:1", "ipv4:127.0.0.1:80",
     "gpu:80/", "gpu:80,box:80", " gpu:80", "me@gpu:80", "gpu\n:80"],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused(address: str) -> None:
    """Schemes of gRPC, URLs, sockets and impossible ports are refused with an example of what is allowed."""
    with pytest.raises(ConfigError, match="expected host:port such as gpu-box:8080") as refused:
        load_run(["--robot.type=fake", f"--server_address={address}"])
    assert refused.value.exit_code == 64


@pytest.mark.parametrize(
    "address", ["GPU-Box.Local:1", "gpu-box.:1", "unix:8080", "[FE80::1%eth0]:65535", "127.1:80", "_robot:80"]
)
def test_names_and_numbers_are_addresses(address: str) -> None:
    """Whatever may be a name, and numbers in every notation, are left to this computer to look up."""
    loaded = load_run(["--robot.type=fake", f"--server_address={address}"])
    assert loaded.config.link.server_address == address
