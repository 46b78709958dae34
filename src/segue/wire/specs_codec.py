"""Specs and guidance to messages and back.

What comes in is checked for what any spec must be (names present, short and
unique, limits in order, sizes and rates sane, no request so large that it costs
a control loop more than its tick); whether robot and policy fit together is for
`segue.core.specs.differences` to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from segue.core.specs import ActionSpec, CameraSpec, Dimension, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import Guidance
from segue.wire import policy_pb2 as pb
from segue.wire.checks import brief, check_name, check_range, check_text, check_unique, wrong
from segue.wire.enums import FITS, JACOBIANS, KINDS, MODES, SCHEDULES, STRATEGIES
from segue.wire.version import (
    MAX_CAMERAS,
    MAX_DIMENSIONS,
    MAX_HISTORY,
    MAX_HORIZON,
    MAX_INFERENCE_NS,
    MAX_MODEL_DIM,
    MAX_MODES,
    MAX_PIXELS,
    MAX_RATE_HZ,
    MAX_REQUEST_NUMBERS,
    MAX_SIDE_PIXELS,
    MIN_RATE_HZ,
)

_MAX_WEIGHT = 1e6


def encode_robot_spec(spec: RobotSpec) -> pb.RobotSpec:
    """Returns `spec` as a message."""
    return pb.RobotSpec(
        robot_type=spec.robot_type,
        observation=_encode_observation_spec(spec.observation),
        action=_encode_dimensions(spec.action.dimensions),
    )


def decode_robot_spec(message: pb.RobotSpec) -> RobotSpec:
    """Returns the spec in `message`.

    Raises:
        RemoteProtocolError: a field is not what a spec allows.
    """
    observation = _decode_observation_spec(message.observation, "robot.observation")
    for camera in observation.cameras:
        size = min(camera.height, camera.width)
        check_range(size, f"robot.observation.cameras: {brief(camera.name)}: size", 1, MAX_SIDE_PIXELS)
    return RobotSpec(
        robot_type=check_name(message.robot_type, "robot.robot_type"),
        observation=observation,
        action=ActionSpec(_decode_dimensions(message.action, "robot.action")),
    )


def encode_policy_spec(spec: PolicySpec) -> pb.PolicySpec:
    """Returns `spec` as a message."""
    return pb.PolicySpec(
        name=spec.name,
        observation=_encode_observation_spec(spec.observation),
        action=_encode_dimensions(spec.action.dimensions),
        action_hz=spec.action_hz,
        horizon=spec.horizon,
        model_action_dim=spec.model_action_dim,
        history_steps=spec.history_steps,
        rtc_modes=spec.rtc_modes,
        warm_inference_ns=spec.warm_inference_ns,
        policy_hash=spec.policy_hash,
    )


def decode_policy_spec(message: pb.PolicySpec, field: str = "policy") -> PolicySpec:
    """Returns the spec in `message`.

    Args:
        message: what a server says of a policy; nobody has checked it yet.
        field: its name in the protocol, for the error.

    Raises:
        RemoteProtocolError: a field is not what a spec allows.
    """
    check_range(message.action_hz, f"{field}.action_hz", MIN_RATE_HZ, MAX_RATE_HZ)
    check_range(message.horizon, f"{field}.horizon", 1, MAX_HORIZON)
    check_range(message.model_action_dim, f"{field}.model_action_dim", 0, MAX_MODEL_DIM)
    check_range(message.history_steps, f"{field}.history_steps", 0, MAX_HISTORY)
    check_range(message.warm_inference_ns, f"{field}.warm_inference_ns", 0, MAX_INFERENCE_NS)
    spec = PolicySpec(
        name=check_name(message.name, f"{field}.name"),
        observation=_decode_observation_spec(message.observation, f"{field}.observation"),
        action=ActionSpec(_decode_dimensions(message.action, f"{field}.action")),
        action_hz=message.action_hz,
        horizon=message.horizon,
        model_action_dim=message.model_action_dim,
        history_steps=message.history_steps,
        rtc_modes=_decode_modes(message.rtc_modes, f"{field}.rtc_modes"),
        warm_inference_ns=message.warm_inference_ns,
        policy_hash=check_name(message.policy_hash, f"{field}.policy_hash"),
    )
    _check_size(spec, field)
    return spec


def check_policy_spec(spec: PolicySpec) -> None:
    """Refuses a spec that no peer would take; for a server, before it offers the policy.

    Raises:
        RemoteProtocolError: a field is not what a spec allows; the text names it.
    """
    try:
        message = encode_policy_spec(spec)
    except (TypeError, ValueError, KeyError) as error:  # a field of another type, or beyond 64 bits
        raise wrong("policy", f"cannot be put into a message: {error}") from None
    decode_policy_spec(message)


def _check_size(spec: PolicySpec, field: str) -> None:
    """Refuses a policy whose requests would be too large for the mailbox and the tick of a robot."""
    seen = (1 + spec.history_steps) * (len(spec.observation.state) + len(spec.observation.environment))
    planned = spec.horizon * (len(spec.action) + spec.model_action_dim)
    if seen + planned > MAX_REQUEST_NUMBERS:
        raise wrong(
            field,
            f"horizon {spec.horizon}, model_action_dim {spec.model_action_dim} and history_steps "
            f"{spec.history_steps} make {seen + planned} numbers a request, at most "
            f"{MAX_REQUEST_NUMBERS} are allowed",
        )


def _decode_modes(modes: Sequence[str], field: str) -> tuple[str, ...]:
    check_range(len(modes), f"{field}: count", 0, MAX_MODES)
    names = tuple(check_name(mode, field) for mode in modes)
    check_unique(names, field)
    return names


def encode_guidance(guidance: Guidance) -> pb.Guidance:
    """Returns `guidance` as a message."""
    return pb.Guidance(
        strategy=STRATEGIES.encode(guidance.strategy),
        mode=MODES.encode(guidance.mode),
        schedule=SCHEDULES.encode(guidance.schedule),
        prefix_end=guidance.prefix_end,
        max_weight=guidance.max_weight,
        jacobian=JACOBIANS.encode(guidance.jacobian),
    )


def decode_guidance(message: pb.Guidance) -> Guidance:
    """Returns the guidance in `message`.

    Raises:
        RemoteProtocolError: a choice is unknown or a number out of range.
    """
    prefix_end = message.prefix_end if message.HasField("prefix_end") else None
    if prefix_end is not None:
        check_range(prefix_end, "guidance.prefix_end", 1, MAX_HORIZON)
    check_range(message.max_weight, "guidance.max_weight", 0.0, _MAX_WEIGHT)
    return Guidance(
        strategy=STRATEGIES.decode(message.strategy, "guidance.strategy"),
        mode=MODES.decode(message.mode, "guidance.mode"),
        schedule=SCHEDULES.decode(message.schedule, "guidance.schedule"),
        prefix_end=prefix_end,
        max_weight=message.max_weight,
        jacobian=JACOBIANS.decode(message.jacobian, "guidance.jacobian"),
    )


def _encode_observation_spec(spec: ObservationSpec) -> pb.ObservationSpec:
    return pb.ObservationSpec(
        state=_encode_dimensions(spec.state),
        environment=spec.environment,
        cameras=[_encode_camera(camera) for camera in spec.cameras],
    )


def _encode_camera(camera: CameraSpec) -> pb.CameraSpec:
    message = pb.CameraSpec(name=camera.name, height=camera.height, width=camera.width, fps=camera.fps)
    if camera.fit is not None:
        message.fit = FITS.encode(camera.fit)
    return message


def _decode_observation_spec(message: pb.ObservationSpec, field: str) -> ObservationSpec:
    check_range(len(message.environment), f"{field}.environment: count", 0, MAX_DIMENSIONS)
    environment = tuple(check_name(name, f"{field}.environment") for name in message.environment)
    check_unique(environment, f"{field}.environment")
    return ObservationSpec(
        state=_decode_dimensions(message.state, f"{field}.state"),
        environment=environment,
        cameras=_decode_cameras(message.cameras, f"{field}.cameras"),
    )


def _decode_cameras(messages: Sequence[pb.CameraSpec], field: str) -> tuple[CameraSpec, ...]:
    check_range(len(messages), f"{field}: count", 0, MAX_CAMERAS)
    for message in messages:
        name = brief(check_name(message.name, f"{field}: name"))
        check_range(message.height, f"{field}: {name}: height in pixels", 0, MAX_SIDE_PIXELS)
        check_range(message.width, f"{field}: {name}: width in pixels", 0, MAX_SIDE_PIXELS)
        check_range(message.fps, f"{field}: {name}: fps", 0.0, MAX_RATE_HZ)
    check_unique([message.name for message in messages], field)
    pixels = sum(message.height * message.width for message in messages)
    if pixels > MAX_PIXELS:
        raise wrong(field, f"{pixels} pixels in all, at most {MAX_PIXELS} are allowed")
    return tuple(CameraSpec(m.name, m.height, m.width, m.fps, FITS.find(m.fit)) for m in messages)


def _encode_dimensions(dimensions: Iterable[Dimension]) -> list[pb.Dimension]:
    return [
        pb.Dimension(
            name=d.name,
            unit=d.unit,
            kind=KINDS.encode(d.kind),
            low=d.low,
            high=d.high,
            max_speed=d.max_speed,
        )
        for d in dimensions
    ]


def _decode_dimensions(messages: Sequence[pb.Dimension], field: str) -> tuple[Dimension, ...]:
    check_range(len(messages), f"{field}: count", 1, MAX_DIMENSIONS)
    dimensions = tuple(_decode_dimension(message, field) for message in messages)
    check_unique([d.name for d in dimensions], field)
    return dimensions


def _decode_dimension(message: pb.Dimension, field: str) -> Dimension:
    name = check_name(message.name, f"{field}: name")
    where = f"{field}: {brief(name)}"
    check_text(message.unit, f"{where}: unit")
    check_range(message.low, f"{where}: low", -math.inf, message.high)
    if message.low == math.inf or message.high == -math.inf:
        raise wrong(f"{where}: low", f"{message.low} with high {message.high} leaves no number between them")
    if not message.max_speed > 0.0:
        raise wrong(f"{where}: max_speed", f"{message.max_speed} is not above 0")
    kind = KINDS.decode(message.kind, f"{where}: kind")
    return Dimension(name, message.unit, kind, message.low, message.high, message.max_speed)
