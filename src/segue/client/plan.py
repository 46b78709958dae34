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
from segue.client.security import LinkSecurity
from segue.clock import NS_PER_S
from segue.core.facts import ExecutorConfig
from segue.core.link.dial import LinkRules
from segue.core.link.slowlink import SlowLinkRule
from segue.core.link.states import Backoff
from segue.core.merge import AGGREGATIONS
from segue.core.resize import Geometry
from segue.core.schedule import RequestRule
from segue.core.specs import ActionSpec, CameraSpec, PolicySpec
from segue.core.types import Guidance, Strategy
from segue.core.watchdog import SafetyConfig
from segue.errors import ConfigError
from segue.robots.base import Robot
from segue.wire.records import Encoding, RequestContext
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
        action_hz: steps per second; None takes the policy's own rate.
        rule: when to ask; its horizon is `actions_per_chunk`, cut to the policy's own.
        aggregate: name of an aggregation, used by `async` only.
        duration_ns: orderly end after that time; None runs until told to stop.
        realtime: the control process asks for real-time scheduling.
        dry: the robot is one that no command reaches, which the records are to say.
    """

    control_hz: float = 100.0
    action_hz: float | None = None
    rule: RequestRule = field(default_factory=RequestRule)
    aggregate: str = "weighted_average"
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    duration_ns: int | None = None
    episodes: EpisodePlan = field(default_factory=EpisodePlan)
    realtime: bool = True
    dry: bool = False


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
    """What the control process is told; `action_hz` of `execution` is settled.

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
            rule=self.execution.rule,
            aggregate=self.execution.aggregate,
            safety=self.execution.safety,
            rest_pose=robot.rest_pose,
            history_steps=self.history_steps,
        )


def settle(plan: RunPlan, policy: PolicySpec, cameras: Sequence[CameraSpec] = ()) -> ControlPlan:
    """Returns what the control process is told, now that the policy is known.

    Args:
        plan: what was wished.
        policy: as the server described it.
        cameras: those whose pictures will be sent.

    Raises:
        ConfigError: the rates do not fit, the age limit is shorter than an action must get, the
            window is longer than a chunk, or a request would be larger than a message may be.
    """
    wishes = plan.execution
    check_window(plan.context.guidance, policy)
    _check_pictures(plan.link.pictures, cameras, policy)
    action_hz = wishes.action_hz or policy.action_hz
    if wishes.control_hz < action_hz:
        raise ConfigError(
            f"control_hz: {wishes.control_hz:g} is below the rate of steps, {action_hz:g} Hz; "
            f"allowed is {action_hz:g} or more"
        )
    rule = replace(wishes.rule, horizon=min(wishes.rule.horizon, policy.horizon))
    oldest = oldest_action_ns(rule, action_hz, policy.warm_inference_ns, _blends(wishes))
    limit = wishes.safety.max_action_age_ns
    if limit is not None and limit < oldest:
        raise ConfigError(
            f"safety.max_action_age_s: {limit / NS_PER_S:g} cannot be kept; with {rule.horizon} actions "
            f"a chunk at {action_hz:g} Hz and {policy.warm_inference_ns / 1e6:.0f} ms inference an action "
            f"gets {oldest / NS_PER_S:.2f} s old; allowed is that or more"
        )
    return ControlPlan(
        context=replace(plan.context, chunk_length=rule.horizon, session_id="", spec_hash=""),
        execution=replace(wishes, action_hz=action_hz, rule=rule),
        policy_horizon=policy.horizon,
        history_steps=policy.history_steps,
        log_commands=plan.output.directory is not None and plan.output.record_commands,
    )


def check_window(guidance: Guidance, policy: PolicySpec) -> None:
    """Refuses a guidance window that is longer than the policy's chunks.

    Raises:
        ConfigError: it is.
    """
    end = guidance.prefix_end
    if end is not None and end > policy.horizon:
        raise ConfigError(
            f"rtc.prefix_end: {end} is longer than a chunk of {policy.name}; allowed is 1 to {policy.horizon}"
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


def oldest_action_ns(rule: RequestRule, action_hz: float, inference_ns: int, blends: bool = False) -> int:
    """Returns how old the observation behind an action gets when all goes well.

    A chunk is d steps old when it is merged, is used until the next is asked for, and for d
    steps more until that one is merged. Where chunks are blended an action is as old as the
    oldest of them, which is the one that reached furthest: a whole chunk, of which nothing was
    skipped after a hold.
    """
    d = delay_steps(action_hz, inference_ns)
    if blends:
        return int((d + rule.horizon) * NS_PER_S / action_hz)
    if rule.strategy is Strategy.SYNC:
        return int((d + (rule.kept_of_chunk() or rule.horizon)) * NS_PER_S / action_hz)
    # Of the first chunk after a start or a hold nothing is skipped, so it lasts longest.
    until_asked = rule.horizon - max(rule.threshold * rule.horizon, d + 1)
    return int((2 * d + max(rule.min_execution_steps, until_asked)) * NS_PER_S / action_hz)


def advice(plan: ControlPlan, policy: PolicySpec) -> list[str]:
    """Returns what a person should know before the arm moves, a sentence each; mostly nothing."""
    said = []
    rule, hz = plan.execution.rule, plan.action_hz
    if hz != policy.action_hz:
        said.append(
            f"fps is {hz:g}, the policy was made for {policy.action_hz:g}: "
            f"it will move {hz / policy.action_hz:.2f} times as fast as it learnt to"
        )
    d, s = delay_steps(hz, policy.warm_inference_ns), rule.min_execution_steps
    if rule.strategy is not Strategy.SYNC and d + s > rule.horizon:
        said.append(
            f"an inference takes {d} steps at {hz:g} Hz and {s} more are executed before the next is "
            f"asked for, but a chunk has {rule.horizon}: the arm will run dry; ask for longer chunks, "
            "fewer steps per second, or a faster policy"
        )
    return said


def delay_steps(action_hz: float, inference_ns: int) -> int:
    """Returns the declared inference time in steps, rounded up, at least 1."""
    return max(1, -int(-inference_ns * action_hz // NS_PER_S))


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
