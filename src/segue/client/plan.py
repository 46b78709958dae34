"""Everything that is decided before a run begins, as frozen records.

`RunPlan` is what the caller fills in. What the control process needs of it,
together with what the policy's spec said, is a `ControlPlan`, which travels to
that process as JSON: the robot is named by its factory and plain settings, so
that a fresh interpreter can make it. This file converts and compares numbers;
it opens nothing.
"""

from __future__ import annotations

import importlib
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from segue.client.commands import CommandLogHeader
from segue.client.episodes import EpisodePlan
from segue.client.prospects import Prospects
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_MS, NS_PER_S
from segue.core.facts import ExecutorConfig
from segue.core.feasibility import age_ceiling_ns, delay_steps, oldest_action_ns
from segue.core.link.dial import LinkRules
from segue.core.link.slowlink import SlowLinkRule
from segue.core.link.states import Backoff
from segue.core.merge import AGGREGATIONS
from segue.core.resize import Geometry
from segue.core.schedule import RequestRule, RuleWishes
from segue.core.specs import ActionSpec, CameraSpec, PolicySpec
from segue.core.types import Guidance, RtcMode, Strategy
from segue.core.watchdog import SafetyConfig
from segue.errors import ConfigError
from segue.robots.base import Robot
from segue.wire.records import Encoding, Handshake, RequestContext
from segue.wire.version import MAX_MESSAGE_BYTES, MAX_NAME_CHARS

R = TypeVar("R")

# Leftover, state and task beside the pictures of a request: 1000 actions of 32 numbers in both units.
_BESIDE_PICTURES_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class RobotPart:
    """A robot by name: what a fresh interpreter needs to make it.

    Attributes:
        factory: ``package.module:function``, returns a `Robot`.
        settings: its keyword arguments; numbers, strings, lists and maps only.
    """

    factory: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Robot:
        """Returns the robot, not yet connected."""
        module, _, name = self.factory.partition(":")
        robot: Robot = getattr(importlib.import_module(module), name)(**self.settings)
        return robot


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """How chunks are asked for and executed.

    Attributes:
        control_hz: commands per second.
        may_speed_up: `control_hz` is nobody's wish: a policy of more steps per second raises it.
        action_hz: steps per second; None takes the policy's own rate.
        rule: when to ask, as far as somebody wishes.
        aggregate: name of an aggregation, used by `async` only.
        duration_ns: orderly end after that time; None runs until told to stop.
        realtime: the control process asks for real-time scheduling.
        dry: the robot is one that no command reaches, which the records are to say.
    """

    control_hz: float = 100.0
    action_hz: float | None = None
    rule: RuleWishes = field(default_factory=RuleWishes)
    aggregate: str = "weighted_average"
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    duration_ns: int | None = None
    episodes: EpisodePlan = field(default_factory=EpisodePlan)
    realtime: bool = True
    dry: bool = False
    may_speed_up: bool = False


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """How pictures travel.

    Attributes:
        quality: of JPEG, 1..100.
        client_resize: those larger than the policy's own size are resized before they travel.
    """

    encoding: Encoding = Encoding.JPEG
    quality: int = 90
    client_resize: bool = True


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The server, and how pictures travel to it.

    Attributes:
        server_address: ``host:port``.
        policy: the one asked for; empty means the server's own.
        pictures: how they travel.
        camera_age_ns: a camera without a newer picture than this has failed.
        security: what the robot proves, and how it knows the server.
        connect_timeout_ns, handshake_timeout_ns: of one dial: for its connection, for all of its calls.
    """

    server_address: str
    policy: str = ""
    pictures: PicturePlan = field(default_factory=PicturePlan)
    camera_age_ns: int = NS_PER_S
    connect_timeout_ns: int = 400_000_000
    handshake_timeout_ns: int = 2 * NS_PER_S
    backoff: Backoff = field(default_factory=Backoff)
    security: LinkSecurity = field(default_factory=LinkSecurity)
    slow_link: SlowLinkRule = field(default_factory=SlowLinkRule)

    def rules(self, offline_limit_ns: int) -> LinkRules:
        """Returns the numbers of the link's machine; a newcomer gives up after `offline_limit_ns`."""
        return LinkRules(
            address=self.server_address,
            note=self.security.proxy.note,
            connect_timeout_ns=self.connect_timeout_ns,
            handshake_timeout_ns=self.handshake_timeout_ns,
            offline_limit_ns=offline_limit_ns,
            backoff=self.backoff,
            slow_link=self.slow_link,
        )


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What a run leaves behind.

    Attributes:
        directory: is made when the run begins; None leaves nothing.
        record_camera: name of the camera whose pictures are kept.
        record_commands: every command is kept, one row per tick.
    """

    directory: Path | None = None
    record_camera: str | None = None
    record_commands: bool = True


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A whole run; the session and the spec's hash in `context` are filled in by the handshake."""

    context: RequestContext
    link: LinkPlan
    execution: ExecutionPlan = field(default_factory=ExecutionPlan)
    output: OutputPlan = field(default_factory=OutputPlan)

    def __post_init__(self) -> None:
        if not 1 <= len(self.context.robot_id) <= MAX_NAME_CHARS:
            shown = f"{self.context.robot_id[:20]!r} has {len(self.context.robot_id)} characters"
            raise ConfigError(f"robot.id: {shown}; allowed are 1 to {MAX_NAME_CHARS}")


@dataclass(frozen=True, slots=True)
class ControlPlan:
    """What the control process is told; rates, strategy and age limit of `execution` are settled.

    Attributes:
        policy_horizon: H_policy, longest chunk that the policy may send.
        history_steps: earlier observations that the policy wants.
        log_commands: every command is sent to the recorder.
    """

    context: RequestContext
    execution: ExecutionPlan
    policy_horizon: int
    history_steps: int
    log_commands: bool = False

    @property
    def action_hz(self) -> float:
        """The settled rate of steps, Hz."""
        return self.execution.action_hz or 0.0

    @property
    def rule(self) -> RequestRule:
        """When to ask, with what follows from the policy where nobody wished anything."""
        return self.execution.rule.settled(self.policy_horizon, self.action_hz)

    @property
    def prospects(self) -> Prospects:
        """What there is to say of how long plans last."""
        ceiling_ns = self.execution.safety.max_action_age_ns
        if ceiling_ns is None:  # a plan that nobody settled
            ceiling_ns = age_ceiling_ns(self.rule.horizon, self.action_hz, 0)
        return Prospects(self.rule, self.action_hz, _blends(self.execution), self.policy_horizon, ceiling_ns)

    def log_header(self, action: ActionSpec) -> CommandLogHeader:
        """Returns the header of the log of commands of a robot with that `action`."""
        execution = self.execution
        header = CommandLogHeader.of(
            execution.control_hz, self.action_hz, execution.safety, action.dimensions
        )
        return replace(header, dry_run=execution.dry)

    def executor_config(self, robot: Robot) -> ExecutorConfig:
        """Returns the executor's configuration for `robot`."""
        return ExecutorConfig(
            action=robot.spec.action,
            action_hz=self.action_hz,
            control_hz=self.execution.control_hz,
            policy_horizon=self.policy_horizon,
            rule=self.rule,
            aggregate=self.execution.aggregate,
            safety=self.execution.safety,
            rest_pose=robot.rest_pose,
            history_steps=self.history_steps,
        )


def settle(
    plan: RunPlan, policy: PolicySpec, cameras: Sequence[CameraSpec] = (), round_trip_ns: int = 0
) -> ControlPlan:
    """Returns what the control process is told, now that the policy is known.

    Args:
        plan: what was wished.
        policy: as the server described it.
        cameras: those whose pictures will be sent.
        round_trip_ns: of the handshake.

    Raises:
        ConfigError: the rates do not fit, actions would get older than any may be, an answer takes too
            long for `sync` to be aligned, or a request would be larger than a message may be.
    """
    wishes = plan.execution
    _check_pictures(plan.link.pictures, cameras, policy)
    guidance = settle_guidance(plan.context.guidance, policy, auto=wishes.rule.strategy is None)
    action_hz = wishes.action_hz or policy.action_hz
    control_hz = max(wishes.control_hz, action_hz) if wishes.may_speed_up else wishes.control_hz
    if control_hz < action_hz:
        raise ConfigError(
            f"control_hz: {control_hz:g} is below the rate of steps, {action_hz:g} Hz; "
            f"allowed is {action_hz:g} or more"
        )
    strategy = wishes.rule.strategy or guidance.strategy
    guidance = replace(guidance, strategy=strategy)
    wishes = replace(
        wishes, control_hz=control_hz, action_hz=action_hz, rule=replace(wishes.rule, strategy=strategy)
    )
    rule = wishes.rule.settled(policy.horizon, action_hz)
    answer_ns = round_trip_ns + policy.warm_inference_ns
    ceiling_ns = _ceiling_ns(wishes, rule, policy.warm_inference_ns, answer_ns)
    _check_aligned(rule, action_hz, answer_ns)
    return ControlPlan(
        context=replace(
            plan.context, guidance=guidance, chunk_length=rule.horizon, session_id="", spec_hash=""
        ),
        execution=replace(wishes, safety=replace(wishes.safety, max_action_age_ns=ceiling_ns)),
        policy_horizon=policy.horizon,
        history_steps=policy.history_steps,
        log_commands=plan.output.directory is not None and plan.output.record_commands,
    )


def settle_guidance(guidance: Guidance, policy: PolicySpec, auto: bool) -> Guidance:
    """Returns how a leftover is to be continued, as far as the policy can.

    Args:
        guidance: what was wished.
        policy: as the server described it.
        auto: nobody wished a strategy: it is rtc where the policy offers that, in the mode that was
            wished if it offers that one, and async where it does not.
    """
    end = guidance.prefix_end
    if end is not None:
        guidance = replace(guidance, prefix_end=min(end, policy.horizon))
    if not auto:
        return guidance
    if not policy.rtc_modes:
        return replace(guidance, strategy=Strategy.ASYNC)
    mode = guidance.mode if guidance.mode.value in policy.rtc_modes else RtcMode(policy.rtc_modes[0])
    return replace(guidance, strategy=Strategy.RTC, mode=mode)


def fitted(handshake: Handshake, offered: Sequence[PolicySpec]) -> Handshake:
    """Returns a handshake that asks of its policy only what that one can.

    Args:
        handshake: what was wished.
        offered: the policies that the server described; it may know more of them by name.
    """
    guidance = handshake.guidance
    policy = next((each for each in offered if handshake.policy in ("", each.name)), None)
    if policy is not None:
        guidance = settle_guidance(guidance, policy, handshake.auto)
    elif handshake.auto:
        # Every policy takes this; what the requests then ask for is decided by the welcome.
        guidance = replace(guidance, strategy=Strategy.ASYNC)
    return replace(handshake, guidance=guidance)


def _ceiling_ns(wishes: ExecutionPlan, rule: RequestRule, inference_ns: int, answer_ns: int) -> int:
    """Returns the oldest that an action may ever be in this run.

    Args:
        wishes: with a rate.
        rule: settled.
        inference_ns: as the policy declares it.
        answer_ns: how long an answer takes by what is known.

    Raises:
        ConfigError: actions would get older than that although all goes well.
    """
    hz, wished_ns = wishes.action_hz or 0.0, wishes.safety.max_action_age_ns
    ceiling_ns = wished_ns or age_ceiling_ns(rule.horizon, hz, inference_ns)
    oldest_ns = oldest_action_ns(rule, hz, answer_ns, _blends(wishes))
    if oldest_ns <= ceiling_ns:
        return ceiling_ns
    limit = f"{ceiling_ns / NS_PER_S:g} cannot be kept"
    if wished_ns is None:
        limit = f"without it no action may be older than {ceiling_ns / NS_PER_S:.2f} s, which cannot be kept"
    raise ConfigError(
        f"safety.max_action_age_s: {limit}; with {rule.horizon} actions a chunk at {hz:g} Hz and "
        f"{answer_ns / NS_PER_MS:.0f} ms for an answer an action gets {oldest_ns / NS_PER_S:.2f} s old; "
        "allowed is that or more"
    )


def _check_aligned(rule: RequestRule, action_hz: float, answer_ns: int) -> None:
    steps = delay_steps(action_hz, answer_ns)
    if rule.aligned and rule.strategy is Strategy.SYNC and steps >= rule.horizon:
        raise ConfigError(
            f"sync_aligned: true cannot work: an answer takes {steps} steps at {action_hz:g} Hz, and of a "
            f"chunk of {rule.horizon} nothing would be left; expected false, longer chunks or a faster answer"
        )


def _check_pictures(plan: PicturePlan, cameras: Sequence[CameraSpec], policy: PolicySpec) -> None:
    sizes = policy.geometries if plan.client_resize else {}
    size = (1 + policy.history_steps) * 3 * sum(_sent_pixels(c, sizes.get(c.name)) for c in cameras)
    limit = MAX_MESSAGE_BYTES - _BESIDE_PICTURES_BYTES
    if plan.encoding is Encoding.RAW and size > limit:
        raise ConfigError(
            f"image_encoding: raw makes {size} bytes of pictures a request; allowed are {limit}, or jpeg"
        )


def _sent_pixels(camera: CameraSpec, geometry: Geometry | None) -> int:
    own = camera.height * camera.width
    return own if geometry is None else min(own, geometry.height * geometry.width)


def _blends(wishes: ExecutionPlan) -> bool:
    return wishes.rule.strategy is Strategy.ASYNC and AGGREGATIONS[wishes.aggregate] is not None


def advice(plan: ControlPlan, policy: PolicySpec, round_trip_ns: int = 0) -> list[str]:
    """Returns what a person should know before the arm moves, a sentence each; mostly nothing.

    Args:
        plan: settled.
        policy: as the server described it.
        round_trip_ns: of the handshake.
    """
    said = _unheeded(plan, policy)
    hz, rule, wished = plan.action_hz, plan.rule, plan.execution.rule.min_execution_steps
    if hz != policy.action_hz:
        said.append(
            f"fps is {hz:g}, the policy was made for {policy.action_hz:g}: "
            f"it will move {hz / policy.action_hz:.2f} times as fast as it learnt to"
        )
    steps = delay_steps(hz, round_trip_ns + policy.warm_inference_ns)
    latest = rule.horizon if steps >= rule.horizon else rule.horizon - (steps + 1)
    if rule.strategy is not Strategy.SYNC and wished is not None and wished > latest:
        said.append(
            f"min_execution_steps: {wished} cannot be kept: of {rule.horizon} actions a chunk the next is "
            f"asked for after {latest} at the latest, since an answer takes {steps} steps"
        )
    prospect = plan.prospects.of(steps)
    return [*said, prospect] if prospect else said


def _unheeded(plan: ControlPlan, policy: PolicySpec) -> list[str]:
    """Returns a sentence for each wish that the policy's chunks are too short for."""
    longest, wished = policy.horizon, plan.execution.rule.horizon
    said = []
    if wished is not None and wished > longest:
        said.append(f"actions_per_chunk: {wished} are more than {policy.name} makes; {longest} are used")
    return said


def to_json(record: Any) -> bytes:
    """Returns one of these records, or a spec, as JSON."""
    return json.dumps(asdict(record)).encode()


def from_json(kind: type[R], data: bytes) -> R:
    """Returns the record of class `kind` in `data`, which `to_json` made."""
    record: R = _restored(kind, json.loads(data))
    return record


def _restored(kind: Any, value: Any) -> Any:
    """Returns `value`, as JSON gave it, as `kind` has it."""
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (each for each in get_args(kind) if each is not types.NoneType)
    if get_origin(kind) is tuple:
        return tuple(_restored(get_args(kind)[0], each) for each in value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        made = {f.name: _restored(hints[f.name], value[f.name]) for f in fields(kind)}
        return kind(**made)  # type: ignore[operator]  # a dataclass type, as far as mypy can tell
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
