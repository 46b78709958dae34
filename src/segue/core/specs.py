"""What a robot offers and what a policy expects, where the two differ, and what changed since.

A spec names every dimension with its unit, so that joints in another order or
degrees against radians are a refusal at the handshake and not an arm in the
table. Specs are immutable, hash the same on every machine, and hold no arrays
that somebody could change. This file compares; it does not convert. Both ends
use the same comparisons: the server when it lets a robot in, and the robot at
every open, because it is the robot that has the arm.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from segue.core.resize import Fit, Geometry
from segue.core.types import FloatArray, Guidance, Strategy

# Of one side of a comparison; a robot of 100 joints fills it.
_LISTED_CHARS = 3_000


class Kind(StrEnum):
    """What a number of an action means, and with it what holding and interpolating mean."""

    POSITION = "position"  # moves in a straight line; holding keeps it
    VELOCITY = "velocity"  # constant over a step; holding is zero
    EFFORT = "effort"  # constant over a step; holding is zero
    DISCRETE = "discrete"  # jumps, is never blended; holding keeps it


@dataclass(frozen=True, slots=True)
class Dimension:
    """One joint (or other axis) of a robot.

    Attributes:
        name: LeRobot's feature name without suffix, such as ``shoulder_pan``.
        unit: ``deg``, ``percent`` (0..100), ``normalized`` (-100..100), ``rad``, ``m`` …
        kind: what the number means.
        low, high: limits in `unit`; infinite where there is none.
        max_speed: limit of the command's change, `unit` per second; infinite where there is none.
    """

    name: str
    unit: str
    kind: Kind = Kind.POSITION
    low: float = -math.inf
    high: float = math.inf
    max_speed: float = math.inf

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}, {self.kind.value}]"


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """The ordered dimensions of an action."""

    dimensions: tuple[Dimension, ...]

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions' names, in order."""
        return tuple(d.name for d in self.dimensions)

    def array(self, field: str) -> FloatArray:
        """Returns one numeric field (``low``, ``high``, ``max_speed``) of all dimensions, shape (A,)."""
        return np.array([getattr(d, field) for d in self.dimensions], dtype=np.float64)

    def mask(self, *kinds: Kind) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Returns which dimensions are of one of `kinds`, shape (A,), bool."""
        return np.array([d.kind in kinds for d in self.dimensions], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera's name and the size of its pictures; height and width 0 mean any size.

    Attributes:
        fit: in a policy's spec, how a picture is brought to the policy's size; None takes it as
            the camera sends it.
    """

    name: str
    height: int = 0
    width: int = 0
    fps: float = 30.0
    fit: Fit | None = None

    @property
    def geometry(self) -> Geometry | None:
        """The size that pictures are brought to; None leaves them as they come."""
        if self.fit is None or not (self.height and self.width):
            return None
        return Geometry(self.height, self.width, self.fit)

    def __str__(self) -> str:
        return f"{self.name} [{self.width}x{self.height}]"


@dataclass(frozen=True, slots=True)
class ObservationSpec:
    """What is observed: joints in order, named environment numbers in order, cameras by name."""

    state: tuple[Dimension, ...]
    environment: tuple[str, ...] = ()
    cameras: tuple[CameraSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class RobotSpec:
    """What a robot offers."""

    robot_type: str
    observation: ObservationSpec
    action: ActionSpec


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """What a policy expects and promises.

    Attributes:
        name: as the server was asked for it, such as ``builtin:belt``.
        observation, action: what it reads and returns, in the robot's units.
        action_hz: rate at which its steps are meant to be executed.
        horizon: H_policy, actions it samples per chunk.
        model_action_dim: A_model, width of an action in the model's own units.
        history_steps: observations before the present one that it needs.
        rtc_modes: of ``guided``, ``trained``; empty when it cannot continue a leftover.
        warm_inference_ns: declared duration of one warm inference.
        policy_hash: hash over weights and configuration, sizes and fits of pictures included.
    """

    name: str
    observation: ObservationSpec
    action: ActionSpec
    action_hz: float
    horizon: int
    model_action_dim: int
    history_steps: int
    rtc_modes: tuple[str, ...]
    warm_inference_ns: int
    policy_hash: str

    @property
    def geometries(self) -> dict[str, Geometry]:
        """By camera, the size that pictures are brought to, where the policy says one."""
        return {c.name: c.geometry for c in self.observation.cameras if c.geometry is not None}

    def spec_hash(self) -> str:
        """Returns a hash that is equal exactly when every field but timing and fits is equal."""
        fields = asdict(self)
        del fields["warm_inference_ns"]  # measured anew at each start: no reason to re-open
        for camera in fields["observation"]["cameras"]:
            # A peer from before there were fits must find the same hash; `policy_hash` covers them.
            del camera["fit"]
        canonical = json.dumps(_floated(fields), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _floated(value: object) -> object:
    """Returns `value` with every whole number as a float: 30 and 30.0 are the same rate."""
    if isinstance(value, dict):
        return {key: _floated(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_floated(each) for each in value]
    return float(value) if isinstance(value, int) else value


def differences(robot: RobotSpec, policy: PolicySpec) -> list[str]:
    """Lists every reason why `policy` may not drive `robot`, one sentence each with both sides.

    A camera that the policy does not ask for is no difference; one that it asks
    for and the robot lacks is. Limits may differ, since the robot's own are kept whatever
    the policy says; limits without a common value are those of another joint or unit. Whether
    the robot's rate is enough is for the run to say, which knows it.
    """
    found = _dimension_differences("joints", robot.observation.state, policy.observation.state)
    found += _dimension_differences("actions", robot.action.dimensions, policy.action.dimensions)
    mine, theirs = robot.observation.environment, policy.observation.environment
    if theirs and mine != theirs:
        found.append(f"environment state: robot has {_listed(mine)}, policy expects {_listed(theirs)}")
    found += _camera_differences(robot.observation.cameras, policy.observation.cameras)
    return found


def _dimension_differences(what: str, robot: Sequence[Dimension], policy: Sequence[Dimension]) -> list[str]:
    key = [(d.name, d.unit, d.kind) for d in robot]
    if key != [(d.name, d.unit, d.kind) for d in policy]:
        return [f"{what}: robot has {_listed(robot)}, policy expects {_listed(policy)}"]
    return [
        f"{what}: robot has {mine} within {_range(mine)}, policy within {_range(theirs)}"
        for mine, theirs in zip(robot, policy, strict=True)
        if mine.high < theirs.low or theirs.high < mine.low
    ]


def _camera_differences(robot: Sequence[CameraSpec], policy: Sequence[CameraSpec]) -> list[str]:
    offered = {c.name: c for c in robot}
    missing = [c for c in policy if c.name not in offered]
    if not missing:
        return []
    return [f"cameras: robot has {_listed(robot)}, policy expects {_listed(policy)}"]


def guidance_difference(guidance: Guidance, policy: PolicySpec) -> str | None:
    """Returns a sentence when `policy` cannot continue a leftover as `guidance` asks, else None."""
    if guidance.strategy is not Strategy.RTC or guidance.mode.value in policy.rtc_modes:
        return None
    offered = ", ".join(policy.rtc_modes) or "none"
    return f"guidance: robot asks for {guidance.strategy} in mode {guidance.mode}, policy offers {offered}"


def respecified(first: PolicySpec, now: PolicySpec) -> list[str]:
    """Lists everything in which `now` is another policy than `first`, one sentence each with both sides.

    A run keeps the spec that it began with: everything that was settled, said and set up before the
    arm moved was settled for that one. How long an inference takes is measured anew by each server,
    and is no difference; every other field is, under whatever hash it comes.

    Args:
        first: of the session that the run began with.
        now: of a session opened later.
    """
    found = [
        _change(what, str(before), str(after))
        for what, before, after in (
            ("name", first.name, now.name),
            ("action_hz", first.action_hz, now.action_hz),
            ("horizon", first.horizon, now.horizon),
            ("model_action_dim", first.model_action_dim, now.model_action_dim),
            ("history_steps", first.history_steps, now.history_steps),
            ("policy_hash", first.policy_hash, now.policy_hash),
        )
        if before != after
    ]
    before, after = first.observation, now.observation
    found += _changed_dimensions("joints", before.state, after.state)
    found += _changed_dimensions("actions", first.action.dimensions, now.action.dimensions)
    for what, old, new in (
        ("environment state", before.environment, after.environment),
        ("rtc_modes", first.rtc_modes, now.rtc_modes),
    ):
        if old != new:
            found.append(_change(what, _listed(old), _listed(new)))
    if before.cameras != after.cameras:
        old_cameras, new_cameras = ([_in_full(c) for c in seen.cameras] for seen in (before, after))
        found.append(_change("cameras", _listed(old_cameras), _listed(new_cameras)))
    return found


def _changed_dimensions(what: str, before: Sequence[Dimension], after: Sequence[Dimension]) -> list[str]:
    names = [(d.name, d.unit, d.kind) for d in before]
    if names != [(d.name, d.unit, d.kind) for d in after]:
        return [_change(what, _listed(before), _listed(after))]
    return [
        _change(f"{what}: limits of {old}", _limits(old), _limits(new))
        for old, new in zip(before, after, strict=True)
        if old != new
    ]


def _change(what: str, before: str, after: str) -> str:
    return f"{what}: the run began with {before}, the server offers {after} now"


def _range(dimension: Dimension) -> str:
    # In full: of two ranges that differ in the tenth digit, both would read the same.
    return f"{dimension.low!r}..{dimension.high!r}"


def _limits(dimension: Dimension) -> str:
    return f"{_range(dimension)} and {dimension.max_speed!r} a second"


def _in_full(camera: CameraSpec) -> str:
    return f"{camera}, {camera.fps!r} Hz, {camera.fit.value if camera.fit else 'as it comes'}"


def _listed(items: Sequence[object]) -> str:
    """Returns the items in brackets; of very many, as many as fill a page."""
    shown: list[str] = []
    room = _LISTED_CHARS
    for item in map(str, items):
        room -= len(item) + 2
        if room < 0:
            shown.append(f"… and {len(items) - len(shown)} more")
            break
        shown.append(item)
    return f"({', '.join(shown)})" if shown else "none"
