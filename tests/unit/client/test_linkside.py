from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segue.client.ending import StopSwitch
from segue.client.linkside import LinkSide
from segue.client.mailbox import mailbox_pair
from segue.client.messages import CameraFailed
from segue.client.plan import ExecutionPlan, LinkPlan, OutputPlan, PicturePlan, RunPlan
from segue.client.proxies import proxy_use
from segue.client.pulse import Pulse
from segue.client.recorder import Silent
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_S, now_ns
from segue.core.specs import CameraSpec
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import SafetyConfig
from segue.errors import ConfigError, LinkLost, LocalProtocolError
from segue.testing.cameras import FakeCamera
from segue.wire import policy_pb2 as pb
from segue.wire.records import Encoding, RequestContext
from tests.unit.client.toyserver import ROBOT, ToyServer
from tests.unit.client.world import control_plan

WAIT_S = 20.0


class Listener(Silent):
    """Remembers the sentences."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def plan_for(address: str) -> RunPlan:
    context = RequestContext("arm", "", "", "wave", Guidance(), 50, 0)
    return RunPlan(context, LinkPlan(address, connect_timeout_ns=2 * NS_PER_S), ExecutionPlan())


def test_the_cameras_offered_are_the_ones_that_are_there(toy: ToyServer) -> None:
    """Whatever cameras the robot's spec names, the handshake offers those that were handed in."""
    cameras = [FakeCamera(CameraSpec(name, 48, 64)) for name in ("front", "wrist")]
    with LinkSide(plan_for(toy.address), cameras, Silent()) as side:
        settled = side.open(ROBOT, StopSwitch())
    assert settled is not None
    assert settled.action_hz == 30.0
    (offer,) = toy.opened
    assert [camera.name for camera in offer.robot.observation.cameras] == ["front", "wrist"]
    assert offer.robot_id == "arm"


def test_advice_is_said_before_anything_moves(toy: ToyServer) -> None:
    """A rate that is not the policy's is said when the session opens."""
    listener = Listener()
    plan = replace(plan_for(toy.address), execution=ExecutionPlan(action_hz=10.0))
    with LinkSide(plan, [], listener) as side:
        side.open(ROBOT, StopSwitch())
    strategy, age, sentence = listener.said
    assert strategy == "strategy is rtc: toy offers it"
    assert age.startswith("no action older than 8.00 s will be executed")
    assert "fps is 10" in sentence


def test_an_unknown_host_is_said_at_once_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the first second a person reads which name is not known, and once more when the waiting ends."""

    def unknown(*_args: object, **_more: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    listener, safety = Listener(), SafetyConfig(offline_limit_ns=NS_PER_S)
    plan = replace(plan_for("gpu-bxo:8080"), execution=ExecutionPlan(safety=safety))
    with LinkSide(plan, [], listener) as side, pytest.raises(LinkLost, match="does not know gpu-bxo") as lost:
        side.open(ROBOT, StopSwitch())
    assert lost.value.exit_code == 69
    (sentence,) = listener.said
    assert sentence.startswith(
        "waiting for a server: gpu-bxo:8080: this computer does not know gpu-bxo: see that"
    )


def test_a_proxy_that_is_not_used_is_named_when_a_dial_fails() -> None:
    """With a proxy variable set and no flag, a failed dial says so, since it may be what is missing."""
    listener, safety = Listener(), SafetyConfig(offline_limit_ns=NS_PER_S // 10)
    use = proxy_use("127.0.0.1:1", {"http_proxy": "http://proxy:3128"}, wanted=False)
    link = LinkPlan("127.0.0.1:1", security=LinkSecurity(proxy=use))
    plan = replace(plan_for("127.0.0.1:1"), link=link, execution=ExecutionPlan(safety=safety))
    with (
        LinkSide(plan, [], listener) as side,
        pytest.raises(LinkLost, match="http_proxy is set and not used"),
    ):
        side.open(ROBOT, StopSwitch())
    assert "no connection; http_proxy is set and not used; --use_proxy=true uses it" in listener.said[0]


def test_serving_before_opening_is_a_bug() -> None:
    """Without a session there is nothing to serve."""
    mailbox, _other = mailbox_pair()
    with (
        LinkSide(plan_for("127.0.0.1:1"), [], Silent()) as side,
        pytest.raises(LocalProtocolError, match="before open"),
    ):
        side.serve(mailbox, Pulse(), control_plan())


def test_a_camera_to_record_must_be_there() -> None:
    """Without cameras none can be recorded, and the message says so."""
    plan = replace(plan_for("127.0.0.1:1"), output=OutputPlan(None, "front"))
    with pytest.raises(ConfigError, match="there are no cameras"):
        LinkSide(plan, [], Silent())


def test_a_window_longer_than_a_chunk_is_cut_before_the_server_sees_it(toy: ToyServer) -> None:
    """The client compares the window with the policy before it opens a session, and says what it did."""
    listener = Listener()
    plan = plan_for(toy.address)
    plan = replace(plan, context=replace(plan.context, guidance=Guidance(prefix_end=51)))
    with LinkSide(plan, [], listener) as side:
        side.open(ROBOT, StopSwitch())
    (opened,) = toy.opened
    assert opened.guidance.prefix_end == 50
    assert any("rtc.prefix_end: 51" in sentence for sentence in listener.said)


def test_the_handshake_asks_for_the_strategy_that_was_chosen(toy: ToyServer) -> None:
    """Without a wish the server is told what the policy that it described can do, and the summary has it."""
    with LinkSide(plan_for(toy.address), [], Silent()) as side:
        settled = side.open(ROBOT, StopSwitch())
        facts = side.facts()
    assert settled is not None
    (opened,) = toy.opened
    assert opened.guidance.strategy == pb.STRATEGY_RTC
    assert settled.context.guidance.strategy is Strategy.RTC
    asked = [facts[key] for key in ("strategy", "actions_per_chunk", "chunk_size_threshold")]
    assert asked == ["rtc", 50, 1.0]
    assert (facts["min_execution_steps"], facts["max_action_age_s"]) == (6, pytest.approx(50 / 30 + 3))


def test_the_pictures_of_all_cameras_must_fit_into_a_request(toy: ToyServer) -> None:
    """Raw pictures of the run's own cameras that are too large together are refused before it begins."""
    cameras = [FakeCamera(CameraSpec(name, 1080, 1920)) for name in ("front", "wrist")]
    plan = replace(plan_for(toy.address), link=LinkPlan(toy.address, pictures=PicturePlan(Encoding.RAW)))
    side = LinkSide(plan, cameras, Silent())  # not entered: the cameras need not run
    with pytest.raises(ConfigError, match="image_encoding"):
        side.open(ROBOT, StopSwitch())
    side.finish()


def test_a_silent_control_loop_and_its_return_are_written_down_and_said(
    toy: ToyServer, tmp_path: Path
) -> None:
    """The pulse's lines have a side and numbers of their own, how long it was, and a sentence each."""
    listener, pulse = Listener(), Pulse()
    mailbox, _loop = mailbox_pair()
    control, control_end = mailbox_pair()
    plan = replace(plan_for(toy.address), output=OutputPlan(tmp_path))
    with LinkSide(plan, [], listener) as side:
        settled = side.open(ROBOT, StopSwitch())
        assert settled is not None
        side.record(control)
        pulse.beat(now_ns())
        side.serve(mailbox, pulse, settled)
        until(lambda: any("not ticked" in text for text in listener.said))
        pulse.beat(now_ns())
        until(lambda: any("ticks again" in text for text in listener.said))
        control_end.close()
    pulse.close()
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    silent, again = (line for line in lines if line["side"] == "pulse")
    assert [(line["event"], line["seq"]) for line in (silent, again)] == [
        ("control_silent", 1),
        ("control_ticks_again", 2),
    ]
    assert 200 < silent["silent_ms"] <= again["silent_ms"] < 1000 * WAIT_S
    assert listener.said[-2:] == [
        f"the control loop has not ticked for {silent['silent_ms']:.0f} ms: the arm keeps its last command",
        f"the control loop ticks again, after {again['silent_ms']:.0f} ms",
    ]


def test_a_camera_that_says_what_is_wrong_is_told_of_within_seconds(toy: ToyServer) -> None:
    """A camera that cannot be opened is a fault long before the patience with a silent one ends."""
    camera = FakeCamera(CameraSpec("front", 48, 64))
    camera.fail()
    mailbox, loop_end = mailbox_pair()
    pulse, heard = Pulse(), []
    with LinkSide(plan_for(toy.address), [camera], Silent()) as side:
        settled = side.open(ROBOT, StopSwitch())
        assert settled is not None
        began = time.monotonic()
        side.serve(mailbox, pulse, settled)
        until(lambda: heard.extend(loop_end.drain()) or any(isinstance(m, CameraFailed) for m in heard))
        assert time.monotonic() - began < 8.0
    pulse.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
