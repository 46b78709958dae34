from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from segue.client.opening import opening
from segue.client.plan import (
    ControlPlan,
    ExecutionPlan,
    LinkPlan,
    PicturePlan,
    RobotPart,
    RunPlan,
    advice,
    fitted,
    from_json,
    settle,
    to_json,
)
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.feasibility import delay_steps, oldest_action_ns
from segue.core.resize import Fit
from segue.core.schedule import RequestRule, RuleWishes
from segue.core.specs import CameraSpec, PolicySpec, RobotSpec
from segue.core.types import Guidance, Jacobian, RtcMode, Schedule, Strategy
from segue.core.watchdog import OnLinkLoss, SafetyConfig
from segue.errors import ConfigError
from segue.testing.robots import FakeRobot, make_other_robot, so101_spec
from segue.wire.records import Encoding, Handshake, RequestContext
from tests.unit.client.toyserver import ROBOT, policy


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
    assert settled.rule.horizon == settled.context.chunk_length == 50
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


def test_a_rate_of_commands_that_nobody_wished_rises_to_the_steps() -> None:
    """A policy of more steps a second than the default rate of commands is followed, or else refused."""
    fast = replace(policy(), action_hz=120.0)
    assert settle(run_plan(may_speed_up=True), fast).execution.control_hz == 120.0
    assert settle(run_plan(may_speed_up=True), policy()).execution.control_hz == 100.0
    with pytest.raises(ConfigError, match=r"control_hz: 100 .* allowed is 120 or more"):
        settle(run_plan(), fast)


def test_an_age_limit_that_cannot_be_kept_is_refused() -> None:
    """An age limit below what an action gets when all goes well is refused with that age."""
    oldest = oldest_action_ns(settle(run_plan(), policy()).rule, 30.0, policy().warm_inference_ns)
    settle(run_plan(safety=SafetyConfig(max_action_age_ns=oldest)), policy())
    with pytest.raises(ConfigError, match="max_action_age"):
        settle(run_plan(safety=SafetyConfig(max_action_age_ns=oldest - NS_PER_S // 5)), policy())


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (RequestRule(horizon=50, threshold=0.5, min_execution_steps=10), 2 * 9 + 25),
        (RequestRule(horizon=50, threshold=1.0, min_execution_steps=10), 2 * 9 + 10),
        (RequestRule(horizon=50, threshold=0.0, min_execution_steps=10), 2 * 9 + 40),
        (RequestRule(horizon=50, threshold=0.0, min_execution_steps=50), 2 * 9 + 40),  # s yields
        (RequestRule(horizon=9, threshold=1.0, min_execution_steps=1), 9 + 9),
        (RequestRule(horizon=8, threshold=1.0, min_execution_steps=1), 9 + 8),
        (RequestRule(strategy=Strategy.SYNC, horizon=50, threshold=0.5), 9 + 50),
    ],
)
def test_how_old_an_action_gets(rule: RequestRule, steps: int) -> None:
    """An action is as old as its chunk's delay, its use, and the next one's delay, or as the whole chunk."""
    assert oldest_action_ns(rule, 30.0, 300 * NS_PER_MS) == int(steps * NS_PER_S / 30)


def test_a_blended_action_is_as_old_as_the_chunk_that_reached_furthest() -> None:
    """Blending keeps the oldest observation of a row, so a limit below a whole chunk's length is refused."""
    rule = RequestRule(strategy=Strategy.ASYNC, horizon=50, threshold=1.0, min_execution_steps=10)
    assert oldest_action_ns(rule, 30.0, 300 * NS_PER_MS, blends=True) == int(59 * NS_PER_S / 30)
    limit = SafetyConfig(max_action_age_ns=3 * NS_PER_S // 2)
    settle(run_plan(rule=rule, aggregate="latest_only", safety=limit), policy())
    with pytest.raises(ConfigError, match="max_action_age"):
        settle(run_plan(rule=rule, aggregate="average", safety=limit), policy())


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize(
    ("actions", "hz", "inference_s", "ceiling_s"),
    [
        (50, 30.0, 0.02, 50 / 30 + 3),
        (100, 30.0, 0.1, 100 / 30 + 3),  # a whole chunk of ACT
        (50, 30.0, 2.5, 50 / 30 + 7.5),
        (100, 30.0, 2.5, 100 / 30 + 7.5),
        (16, 30.0, 0.65, 16 / 30 + 3),
        (50, 30.0, 9.9, 50 / 30 + 10),
        (1, 50.0, 0.01, 1 / 50 + 3),
    ],
)
def test_no_action_gets_older_than_the_ceiling(
    strategy: Strategy, actions: int, hz: float, inference_s: float, ceiling_s: float
) -> None:
    """H / action_hz + max(3 s, 3 x the declared inference), at most + 10 s, is enough for every strategy."""
    slow = replace(policy(), warm_inference_ns=int(inference_s * NS_PER_S), horizon=100)
    wishes = RuleWishes(strategy, horizon=actions)
    for aggregate in ("latest_only", "weighted_average"):
        settled = settle(run_plan(rule=wishes, action_hz=hz, aggregate=aggregate), slow)
        pinned = settled.execution.safety.max_action_age_ns
        assert pinned == pytest.approx(ceiling_s * NS_PER_S, abs=2)
        assert oldest_action_ns(settled.rule, hz, slow.warm_inference_ns, blends=True) <= pinned


def test_a_policy_that_cannot_stay_below_the_ceiling_is_refused() -> None:
    """A declared inference of 20 s is refused in one sentence that names the flag; with it, it may run."""
    slow = replace(policy(), warm_inference_ns=20 * NS_PER_S)
    with pytest.raises(
        ConfigError, match=r"^safety\.max_action_age_s: .* 11\.67 s, .* 20000 ms .* 21\.67 s old"
    ):
        settle(run_plan(), slow)
    more = SafetyConfig(max_action_age_ns=22 * NS_PER_S)
    assert settle(run_plan(safety=more), slow).execution.safety == more
    less = SafetyConfig(max_action_age_ns=2 * NS_PER_S)
    assert settle(run_plan(safety=less), policy()).execution.safety == less


def test_the_way_to_the_server_counts() -> None:
    """A limit that the inference alone would keep is refused where the handshake's round trip is too long."""
    limit = SafetyConfig(max_action_age_ns=NS_PER_S)
    settle(run_plan(safety=limit), policy())
    with pytest.raises(ConfigError, match="520 ms for an answer"):
        settle(run_plan(safety=limit), policy(), (), 500 * NS_PER_MS)


@pytest.mark.parametrize(
    ("offered", "mode", "strategy", "chosen"),
    [
        (("guided",), RtcMode.GUIDED, Strategy.RTC, RtcMode.GUIDED),
        (("guided", "trained"), RtcMode.TRAINED, Strategy.RTC, RtcMode.TRAINED),
        (("trained",), RtcMode.GUIDED, Strategy.RTC, RtcMode.TRAINED),
        ((), RtcMode.GUIDED, Strategy.ASYNC, RtcMode.GUIDED),
    ],
)
def test_without_a_wish_the_strategy_is_what_the_policy_offers(
    offered: tuple[str, ...], mode: RtcMode, strategy: Strategy, chosen: RtcMode
) -> None:
    """It is rtc where the policy continues plans, in a mode that it has, and async where it does not."""
    able = replace(policy(), rtc_modes=offered)
    plan = run_plan()
    plan = replace(plan, context=replace(plan.context, guidance=Guidance(mode=mode)))
    settled = settle(plan, able)
    assert settled.rule.strategy is settled.context.guidance.strategy is strategy
    assert settled.context.guidance.mode is chosen
    (said, _) = opening(plan, settled, able)
    assert f"strategy is {strategy}" in said
    assert ("does not offer" in said) is not offered or bool(offered)
    asked = fitted(Handshake("arm", ROBOT, guidance=Guidance(mode=mode), auto=True), [able])
    assert asked.guidance == settled.context.guidance


def test_a_policy_that_the_server_did_not_describe_is_asked_for_what_every_one_has() -> None:
    """Without a wish a policy that is loaded on demand is met as async, and a wish stands."""
    auto = Handshake("arm", ROBOT, policy="else", auto=True)
    assert fitted(auto, [policy()]).guidance.strategy is Strategy.ASYNC
    assert fitted(replace(auto, auto=False), [policy()]).guidance.strategy is Strategy.RTC
    assert fitted(replace(auto, policy="toy"), [policy()]).guidance.strategy is Strategy.RTC


def test_a_wished_strategy_is_kept_whatever_the_policy_offers() -> None:
    """Who wants rtc of a policy that has none is refused by the server, and not given something else."""
    plan = run_plan(rule=RuleWishes(Strategy.RTC))
    settled = settle(plan, replace(policy(), rtc_modes=()))
    assert settled.rule.strategy is settled.context.guidance.strategy is Strategy.RTC


def test_what_cannot_be_kept_up_is_said() -> None:
    """When delay and steps between requests exceed the chunk, a sentence says that it will run dry."""
    slow = replace(policy(), warm_inference_ns=1 * NS_PER_S)
    said = advice(settle(run_plan(), slow), slow)
    assert len(said) == 1
    assert "will starve" in said[0]
    assert advice(settle(run_plan(), policy()), policy()) == []


def at_100_hz(steps: int, **execution: object) -> list[str]:
    """Returns the advice for a policy whose answers take so many steps of 10 ms."""
    slow = replace(policy(), warm_inference_ns=steps * 10 * NS_PER_MS, action_hz=100.0)
    return advice(settle(run_plan(**execution), slow), slow)


def test_the_share_that_will_starve_is_said_with_what_would_mend_it() -> None:
    """Above d = H / 2 a sentence has the share and what would mend it; up to there nothing is said."""
    assert [at_100_hz(d) for d in range(1, 26)] == [[]] * 25
    shares = {26: "3.8 %", 30: "16.7 %", 39: "35.9 %", 45: "44.4 %"}
    for d, share in shares.items():
        (said,) = at_100_hz(d)
        takes = f"an answer takes {d} steps at 100 Hz ({d / 100:.2f} s), and a chunk has 50"
        assert said.startswith(f"{takes}: {share} of the ticks will starve")
        assert f"chunks of {2 * d} actions (the policy makes 50)" in said
        assert f"{2500 / d:.6f}"[:5].rstrip("0") in said
        assert "a round trip of 250 ms would mend it" in said
    for d, share in ((50, "50.0 %"), (75, "60.0 %")):
        (said,) = at_100_hz(d)
        assert "the next is asked for when it has ended" in said
        assert share in said


def test_each_remedy_is_one() -> None:
    """Whoever follows one of the three numbers is told nothing any more."""
    (said,) = at_100_hz(39)
    assert "chunks of 78 actions" in said
    assert "64.1 steps a second" in said
    slow = replace(policy(), warm_inference_ns=390 * NS_PER_MS, action_hz=100.0, horizon=100)
    for wish in ({"rule": RuleWishes(horizon=78)}, {"action_hz": 64.1}):
        assert not [s for s in advice(settle(run_plan(**wish), slow), slow) if "starve" in s]
    quick = replace(slow, warm_inference_ns=250 * NS_PER_MS)
    assert advice(settle(run_plan(), quick), quick) == []


def test_a_pause_that_is_meant_is_not_advised_against() -> None:
    """Sync waits for every answer, and says nothing of it."""
    assert (
        at_100_hz(45, rule=RuleWishes(Strategy.SYNC)) == at_100_hz(90, rule=RuleWishes(Strategy.SYNC)) == []
    )


@pytest.mark.parametrize(
    ("wishes", "steps", "said"),
    [
        (RuleWishes(min_execution_steps=60), 2, "min_execution_steps: 60 cannot be kept: .* after 47"),
        (
            RuleWishes(min_execution_steps=10, horizon=8),
            2,
            "min_execution_steps: 10 cannot be kept: .* after 5",
        ),
        (RuleWishes(min_execution_steps=40), 20, "min_execution_steps: 40 cannot be kept: .* after 29"),
        (RuleWishes(horizon=60), 2, "actions_per_chunk: 60 are more than toy makes; 50 are used"),
    ],
)
def test_a_wish_that_cannot_be_kept_is_said_and_the_run_goes_on(
    wishes: RuleWishes, steps: int, said: str
) -> None:
    """What cannot work is done as far as it can, and a sentence has the value and what comes of it."""
    (sentence,) = at_100_hz(steps, rule=wishes)
    assert re.match(said, sentence)


def test_sync_cannot_be_aligned_with_answers_that_outlast_a_chunk() -> None:
    """Where nothing of a chunk would be left it is refused with both numbers; one step less is taken."""
    aligned = RuleWishes(Strategy.SYNC, aligned=True)
    assert at_100_hz(49, rule=aligned) == []
    with pytest.raises(ConfigError, match=r"^sync_aligned: true cannot work: .* 50 steps at 100 Hz.* of 50"):
        at_100_hz(50, rule=aligned)


def test_the_oldest_that_an_action_may_be_is_said_with_the_reason() -> None:
    """Before the arm moves there is one sentence with the ceiling, what it is made of, and the flag."""
    plan = run_plan(rule=RuleWishes(Strategy.RTC))
    (said,) = opening(plan, settle(plan, policy()), policy())
    assert said == (
        "no action older than 4.67 s will be executed: 50 actions at 30 Hz last 1.67 s, and 3.00 s are for "
        "answers, which are said to take 0.02 s (--safety.max_action_age_s sets another limit)"
    )
    plan = run_plan(rule=RuleWishes(Strategy.RTC), safety=SafetyConfig(max_action_age_ns=2 * NS_PER_S))
    (said,) = opening(plan, settle(plan, policy()), policy())
    assert said == "no action older than 2 s will be executed, as --safety.max_action_age_s says"


@pytest.mark.parametrize(("inference_ms", "steps"), [(0, 1), (33, 1), (34, 2), (300, 9), (301, 10)])
def test_delay_in_steps_is_rounded_up(inference_ms: int, steps: int) -> None:
    """A part of a step is a step, and none is less than one."""
    assert delay_steps(30.0, inference_ms * NS_PER_MS) == steps


def test_a_control_plan_travels_as_json() -> None:
    """Enumerations, nested records, infinities and absent values come back as they were."""
    safety = SafetyConfig(max_action_age_ns=None, on_link_loss=OnLinkLoss.STOP_NOW)
    rule = RuleWishes(strategy=Strategy.ASYNC, threshold=0.25)
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


def test_a_window_longer_than_a_chunk_ends_with_it() -> None:
    """The guidance window ends within the policy's chunk; a sentence has key, value and what is used."""
    for end, said in ((50, 0), (51, 1)):
        plan = run_plan(rule=RuleWishes(Strategy.RTC))
        plan = replace(plan, context=replace(plan.context, guidance=Guidance(prefix_end=end)))
        settled = settle(plan, policy())
        assert settled.context.guidance.prefix_end == 50
        sentences = [each for each in opening(plan, settled, policy()) if "prefix_end" in each]
        assert len(sentences) == said
        assert all("rtc.prefix_end: 51 is longer" in each and "50 is used" in each for each in sentences)


@pytest.mark.parametrize("length", [0, 129])
def test_a_robot_without_a_proper_name_is_refused(length: int) -> None:
    """A robot's id is neither empty nor longer than 128 characters."""
    plan = run_plan()
    replace(plan, context=replace(plan.context, robot_id="r" * 128))
    with pytest.raises(ConfigError, match=rf"robot\.id: .* {length} characters; allowed are 1 to 128"):
        replace(plan, context=replace(plan.context, robot_id="r" * length))
