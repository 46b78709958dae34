"""What the flags say reaches the rooms, in their units."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli import build
from segue.cli.plans import run_plan, server_config
from segue.client.episodes import EpisodePlan
from segue.client.plan import PicturePlan
from segue.client.proxies import Proxy
from segue.config import load_run, load_serve
from segue.core.link.slowlink import SlowLinkRule
from segue.core.types import Guidance, Jacobian, RtcMode, Schedule, Strategy
from segue.core.watchdog import OnLinkLoss, Resume, SafetyConfig
from segue.errors import ConfigError
from segue.policies.registry import load_policy
from segue.server.store import PolicyStore
from segue.wire.keyfiles import Identity, Token
from segue.wire.records import Encoding
from tests.key_sets import key_set


def test_episodes_and_dry_runs_reach_the_control_loop(tmp_path: Path) -> None:
    """How a run is divided, and that nothing is to move, arrive; the simulated belt divides itself."""
    flags = "--episodes=3 --episode_time_s=20 --reset_time_s=5 --dry_run=true"
    execution = run_plan(load_run(f"--robot.type=fake {flags}".split()).config, tmp_path).execution
    assert execution.episodes == EpisodePlan(3, 20_000_000_000, 5_000_000_000)
    assert execution.dry
    belt = run_plan(load_run(["--robot.type=sim_so101", "--episodes=3"]).config, tmp_path).execution
    assert belt.episodes == EpisodePlan()
    assert not belt.dry


def test_every_flag_of_a_run_reaches_its_room(tmp_path: Path) -> None:
    """Nothing that can be set is lost on the way to the client."""
    argv = """
        --robot.type=sim_so101 --robot.id=left --server_address=h:1 --pretrained_name_or_path=p --seed=4
        --fps=20 --image_encoding=raw --image_quality=50 --strategy=async --actions_per_chunk=40 --task=lift
        --chunk_size_threshold=0.25 --min_execution_steps=8 --aggregate_fn_name=average --control_hz=50
        --duration=1.5 --rtc.prefix_end=9 --rtc.max_weight=2 --rtc.schedule=ones --rtc.mode=trained
        --rtc.jacobian=identity --safety.max_action_age_s=3 --safety.on_link_loss=stop_now
        --safety.play_out_s=0.5 --safety.hold_grace_s=1 --safety.offline_limit_s=2 --safety.camera_limit_s=4
        --safety.hold_ramp_s=0.1 --safety.resume=auto --safety.resume_ramp_s=0.15 --safety.park_s=3.5
        --safety.min_deadline_s=0.6
        --record_camera=front --record_commands=false --tls.server_name=gpu-box --realtime=false
        --slow_link_upload_s=0.7 --slow_link_quality=33 --client_resize=false
    """
    keys = key_set(tmp_path / "keys")
    argv += f" --tls.ca_file={keys.ca} --tls.cert_file={keys.client_cert} --tls.key_file={keys.client_key}"
    argv += f" --auth.token_file={keys.token}"
    plan = run_plan(load_run(argv.split()).config, tmp_path)
    context, link, execution, output = plan.context, plan.link, plan.execution, plan.output
    assert (context.robot_id, context.task, context.seed, context.chunk_length) == ("left", "lift", 4, 40)
    assert context.guidance == Guidance(
        Strategy.ASYNC, RtcMode.TRAINED, Schedule.ONES, 9, 2.0, Jacobian.IDENTITY
    )
    assert (link.server_address, link.policy) == ("h:1", "p")
    assert link.pictures == PicturePlan(Encoding.RAW, 50, client_resize=False)
    assert link.slow_link == SlowLinkRule(upload_ns=700_000_000, quality=33)
    rule = execution.rule
    assert (rule.strategy, rule.horizon, rule.threshold, rule.min_execution_steps) == ("async", 40, 0.25, 8)
    assert (execution.control_hz, execution.action_hz, execution.aggregate) == (50.0, 20.0, "average")
    assert (execution.duration_ns, execution.realtime) == (1_500_000_000, False)
    ms = 1_000_000
    assert execution.safety == SafetyConfig(
        max_action_age_ns=3000 * ms, on_link_loss=OnLinkLoss.STOP_NOW, play_out_ns=500 * ms,
        hold_grace_ns=1000 * ms, offline_limit_ns=2000 * ms, camera_limit_ns=4000 * ms, hold_ramp_ns=100 * ms,
        resume_ramp_ns=150 * ms, park_ns=3500 * ms, min_deadline_ns=600 * ms, resume=Resume.AUTO,
    )  # fmt: skip
    assert (output.directory, output.record_camera, output.record_commands) == (tmp_path, "front", False)
    security = link.security
    assert security.identity == Identity(keys.client_cert.read_bytes(), keys.client_key.read_bytes())
    assert (security.authorities, security.server_name) == (keys.ca.read_bytes(), "gpu-box")
    assert keys.token.read_text().startswith(security.token)
    assert security.token


def test_every_flag_of_a_server_reaches_it(tmp_path: Path) -> None:
    """Nothing that can be set is lost on the way to the server."""
    argv = """
        --host=0.0.0.0 --port=5 --insecure --policy.path=p --policy.device=cpu --max_robots=3 --max_batch=2
        --inference_latency=0.3 --drain_s=1 --watchdog_s=7 --requests_per_s=50
    """
    keys = key_set(tmp_path / "keys")
    argv += f" --tls.cert_file={keys.server_cert} --tls.key_file={keys.server_key}"
    argv += f" --tls.client_ca_file={keys.ca} --auth.token_file={keys.token}"
    config = server_config(load_serve(argv.split()).config)
    assert (config.host, config.port, config.security.insecure) == ("0.0.0.0", 5, True)
    assert (config.max_robots, config.max_batch) == (3, 2)
    assert (config.inference_latency_s, config.drain_s) == (0.3, 1.0)
    assert (config.watchdog_s, config.requests_per_s) == (7.0, 50.0)
    security = config.security
    assert security.identity == Identity(keys.server_cert.read_bytes(), keys.server_key.read_bytes())
    assert security.client_ca == keys.ca.read_bytes()
    assert [each.text for each in security.tokens] == [keys.token.read_text().split()[0]]


def test_every_flag_of_a_policy_reaches_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, device and every folder of the list arrive, without blanks, at what loads policies."""
    wishes: list[tuple[object, ...]] = []

    def store(loader: object, *wish: object) -> PolicyStore:
        wishes.append(wish)
        return PolicyStore.of(load_policy("builtin:scripted"))

    monkeypatch.setattr("segue.server.store.PolicyStore", store)
    monkeypatch.setattr("segue.server.lifecycle.run_until_signalled", lambda server, ready: 0)
    monkeypatch.setattr("segue.server.lifecycle.PolicyServer", lambda config, policies: None)
    argv = ["--policy.path=builtin:scripted", "--policy.device=cuda:1", "--policy.roots=/a, /b/c,"]
    assert build.serve(load_serve(argv).config, lambda ready: None) == 0
    assert wishes == [(["builtin:scripted"], "cuda:1", [Path("/a"), Path("/b/c")])]


def test_the_environment_brings_the_token_to_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEGUE_TOKEN is the token of server and robot, and the robot keeps it from a plain link to elsewhere."""
    monkeypatch.setenv("SEGUE_TOKEN", "t" * 40)
    assert server_config(load_serve([]).config).security.tokens == (Token("t" * 40),)
    here = ["--robot.type=fake", "--server_address=127.0.0.1:1"]
    assert run_plan(load_run(here).config, tmp_path).link.security.token == "t" * 40
    there = ["--robot.type=fake", "--server_address=gpu-box:1"]
    with pytest.raises(ConfigError, match=r"^server_address: gpu-box:1: the token would travel"):
        run_plan(load_run(there).config, tmp_path)
    assert run_plan(load_run([*there, "--insecure"]).config, tmp_path).link.security.token


def test_a_proxy_is_asked_for_by_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is in the plan with the flag alone, and a plain token goes through none."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@cache:3128")
    words = ["--robot.type=fake", "--server_address=127.0.0.1:1"]
    asked = [*words, "--use_proxy=true"]
    assert run_plan(load_run(words).config, tmp_path).link.security.proxy.proxy is None
    plan = run_plan(load_run(asked).config, tmp_path)
    assert plan.link.security.proxy.proxy == Proxy("cache", 3128, "HTTPS_PROXY", "me:secret")
    (warning,) = plan.link.security.warnings
    assert warning.startswith("the proxy cache:3128 (HTTPS_PROXY) can read")
    assert "secret" not in repr(plan)
    monkeypatch.setenv("SEGUE_TOKEN", "t" * 40)
    with pytest.raises(ConfigError, match="the token would travel in plain text through this proxy"):
        run_plan(load_run(asked).config, tmp_path)
    assert run_plan(load_run([*asked, "--insecure"]).config, tmp_path).link.security.token
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@cache")
    with pytest.raises(ConfigError, match=r"^use_proxy: HTTPS_PROXY names a proxy of the kind socks5"):
        run_plan(load_run(asked).config, tmp_path)
