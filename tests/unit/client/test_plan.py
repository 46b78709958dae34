from __future__ import annotations

import math
from dataclasses import replace

import pytest

from segue.client.plan import (
    ControlPlan,
    ExecutionPlan,
    LinkPlan,
    PicturePlan,
    RobotPart,
    RunPlan,
    advice,
    delay_steps,
    from_json,
    oldest_action_ns,
    settle,
    to_json,
)
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.resize import Fit
from segue.core.schedule import RequestRule
from segue.core.specs import CameraSpec, PolicySpec, RobotSpec
from segue.core.types import Guidance, Jacobian, Schedule, Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig
from segue.errors import ConfigError
from segue.testing.robots import FakeRobot, make_other_robot, so101_spec
from segue.wire.records import Encoding, RequestContext
from tests.unit.client.toyserver import policy


def run_plan(**execution: object) -> RunPlan:
    context = RequestContext("arm", "", "", "wave", Guidance(schedule=Schedule.LINEAR), 50, 3)
    return RunPlan(context, LinkPlan("127.0.0.1:1"), ExecutionPlan(**execution))  # type: ignore[arg-type]


def test_a_robot_part_makes_its_robot() -> None:
    """A robot is made from the name of its factory and plain settings."""
    robot = RobotPart("segue.testing.robots:make_fake_robot", {"log": None}).make()
    assert isinstance(robot, FakeRobot)
    assert not robot.connected


def test_the_policys_rate_and_horizon_are_taken_over() -> None:
    """Without a wish the steps run at the policy's rate, and a chunk is never longer than its horizon."""
    settled = settle(run_plan(rule=RequestRule(horizon=200)), policy())
    assert settled.action_hz == 30.0
    assert settled.execution.rule.horizon == settled.context.chunk_length == 50
    assert settled.policy_horizon == 50


def test_a_rate_of_ones_own_is_kept_and_warned_about() -> None:
    """Another rate than the policy's is used, and a sentence says both."""
    settled = settle(run_plan(action_hz=20.0), policy())
    assert settled.action_hz == 20.0
    (sentence,) = advice(settled, policy())
    assert "20" in sentence
    assert "30" in sentence


def test_a_robot_slower_than_the_steps_is_refused() -> None:
    """Fewer commands than steps a second cannot be; the message says what is allowed."""
    with pytest.raises(ConfigError, match="30 or more"):
        settle(run_plan(control_hz=20.0), policy())


def test_an_age_limit_that_cannot_be_kept_is_refused() -> None:
    """An age limit below what an action gets when all goes well is refused with that age."""
    oldest = oldest_action_ns(RequestRule(), 30.0, policy().warm_inference_ns)
    settle(run_plan(safety=SafetyConfig(max_action_age_ns=oldest)), policy())
    with pytest.raises(ConfigError, match="max_action_age"):
        settle(run_plan(safety=SafetyConfig(max_action_age_ns=oldest - NS_PER_S // 5)), policy())


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (RequestRule(horizon=50, threshold=0.5, min_execution_steps=10), 2 * 9 + 25),
        (RequestRule(horizon=50, threshold=1.0, min_execution_steps=10), 2 * 9 + 10),
        (RequestRule(strategy=Strategy.SYNC, horizon=50, threshold=0.5), 9 + 25),
    ],
)
def test_how_old_an_action_gets(rule: RequestRule, steps: int) -> None:
    """An action is as old as its chunk's delay, its use, and the delay of the chunk that follows."""
    assert oldest_action_ns(rule, 30.0, 300 * NS_PER_MS) == int(steps * NS_PER_S / 30)


def test_a_blended_action_is_as_old_as_the_chunk_that_reached_furthest() -> None:
    """Blending keeps the oldest observation of a row, so a limit below a whole chunk's length is refused."""
    rule = RequestRule(strategy=Strategy.ASYNC, horizon=50, threshold=1.0, min_execution_steps=10)
    assert oldest_action_ns(rule, 30.0, 300 * NS_PER_MS, blends=True) == int(59 * NS_PER_S / 30)
    limit = SafetyConfig(max_action_age_ns=3 * NS_PER_S // 2)
    settle(run_plan(rule=rule, aggregate="latest_only", safety=limit), policy())
    with pytest.raises(ConfigError, match="max_action_age"):
        settle(run_plan(rule=rule, aggregate="average", safety=limit), policy())


def test_what_cannot_be_kept_up_is_said() -> None:
    """When delay and steps between requests exceed the chunk, a sentence says that it will run dry."""
    slow = replace(policy(), warm_inference_ns=2 * NS_PER_S)
    said = advice(settle(run_plan(), slow), slow)
    assert len(said) == 1
    assert "run dry" in said[0]
    assert advice(settle(run_plan(), policy()), policy()) == []


@pytest.mark.parametrize(("inference_ms", "steps"), [(0, 1), (33, 1), (34, 2), (300, 9), (301, 10)])
def test_delay_in_steps_is_rounded_up(inference_ms: int, steps: int) -> None:
    """A part of a step is a step, and none is less than one."""
    assert delay_steps(30.0, inference_ms * NS_PER_MS) == steps


def test_a_control_plan_travels_as_json() -> None:
    """Enumerations, nested records, infinities and absent values come back as they were."""
    safety = SafetyConfig(max_action_age_ns=None, on_link_loss=OnLinkLoss.STOP_NOW)
    rule = RequestRule(strategy=Strategy.ASYNC, threshold=0.25)
    context = RequestContext("arm", "", "", "ü", Guidance(jacobian=Jacobian.IDENTITY, prefix_end=4), 50, 3)
    plan = ControlPlan(context, ExecutionPlan(50.0, 10.0, rule, "average", safety, 5), 64, 2)
    assert from_json(ControlPlan, to_json(plan)) == plan


def test_specs_and_robot_parts_travel_as_json() -> None:
    """A spec arrives with its limits, infinite ones included."""
    for spec in (so101_spec(), make_other_robot().spec):
        assert from_json(RobotSpec, to_json(spec)) == spec
    assert from_json(RobotSpec, to_json(make_other_robot().spec)).action.dimensions[0].high == math.inf
    part = RobotPart("a:b", {"seed": 3, "names": ["x"], "belt": {"speed": 0.5}})
    assert from_json(RobotPart, to_json(part)) == part


def test_the_executor_gets_what_was_settled() -> None:
    """Rates, rule, limits and rest pose reach the executor's configuration."""
    settled = settle(run_plan(aggregate="average"), policy(history_steps=2))
    robot = FakeRobot()
    config = settled.executor_config(robot)
    assert (config.action_hz, config.control_hz, config.history_steps) == (30.0, 100.0, 2)
    assert config.action is robot.spec.action
    assert config.rest_pose is robot.rest_pose
    assert config.aggregate == "average"


def test_raw_pictures_that_do_not_fit_into_a_request_are_refused() -> None:
    """Raw pictures beyond what a request holds are refused with their bytes, those of the past too."""
    raw = replace(run_plan(), link=LinkPlan("127.0.0.1:1", pictures=PicturePlan(Encoding.RAW)))
    large, small = CameraSpec("front", 1080, 1920), CameraSpec("wrist", 480, 640)
    settle(raw, policy(), [large, small])
    settle(run_plan(), policy(), [large, large])
    with pytest.raises(ConfigError, match=r"image_encoding: .* 12441600 bytes .* allowed are 7864320"):
        settle(raw, policy(), [large, large])
    with pytest.raises(ConfigError, match="image_encoding"):
        settle(raw, policy(history_steps=1), [large])


def test_raw_pictures_count_as_they_will_be_sent() -> None:
    """Raw pictures that are brought to the policy's size first count with that size, if it is smaller."""
    raw = replace(run_plan(), link=LinkPlan("127.0.0.1:1", pictures=PicturePlan(Encoding.RAW)))
    large = CameraSpec("front", 1440, 1920)
    seeing = policy()

    def wanting(side: int) -> PolicySpec:
        camera = CameraSpec("front", side, side, fit=Fit.STRETCH)
        return replace(seeing, observation=replace(seeing.observation, cameras=(camera,)))

    settle(raw, wanting(224), [large])
    with pytest.raises(ConfigError, match="image_encoding: raw makes 8294400 bytes"):
        settle(raw, wanting(4000), [large])
    unresized = replace(raw, link=replace(raw.link, pictures=PicturePlan(Encoding.RAW, client_resize=False)))
    with pytest.raises(ConfigError, match="image_encoding: raw makes 8294400 bytes"):
        settle(unresized, wanting(224), [large])


def test_a_window_longer_than_a_chunk_is_refused() -> None:
    """The guidance window ends within the policy's chunk; the message has key, value and range."""
    plan = run_plan()
    settle(replace(plan, context=replace(plan.context, guidance=Guidance(prefix_end=50))), policy())
    with pytest.raises(ConfigError, match=r"rtc\.prefix_end: 51 .* allowed is 1 to 50"):
        settle(replace(plan, context=replace(plan.context, guidance=Guidance(prefix_end=51))), policy())


@pytest.mark.parametrize("length", [0, 129])
def test_a_robot_without_a_proper_name_is_refused(length: int) -> None:
    """A robot's id is neither empty nor longer than 128 characters."""
    plan = run_plan()
    replace(plan, context=replace(plan.context, robot_id="r" * 128))
    with pytest.raises(ConfigError, match=rf"robot\.id: .* {length} characters; allowed are 1 to 128"):
        replace(plan, context=replace(plan.context, robot_id="r" * length))
