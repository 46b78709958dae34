"""Specs and guidance on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given

from segue.clock import NS_PER_S
from segue.core.resize import Fit
from segue.core.specs import ActionSpec, CameraSpec, Dimension, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import Guidance
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.specs_codec import (
    decode_guidance,
    decode_policy_spec,
    decode_robot_spec,
    encode_guidance,
    encode_policy_spec,
    encode_robot_spec,
)
from tests.unit.wire.wire_samples import guidances, policy_specs, robot_specs

JOINTS = (Dimension("pan", "deg"), Dimension("grip", "percent"))
SEEN = ObservationSpec(JOINTS, ("cube_x",), (CameraSpec("front", 480, 640),))
ROBOT = RobotSpec("arm", SEEN, ActionSpec(JOINTS))
POLICY = PolicySpec("toy", SEEN, ActionSpec(JOINTS), 10.0, 50, 6, 0, ("guided",), 1_000, "ab12")


@given(robot_specs)
def test_a_robot_spec_arrives_as_it_was(spec: RobotSpec) -> None:
    """A robot's spec comes back equal, infinite limits included."""
    message = pb.RobotSpec.FromString(encode_robot_spec(spec).SerializeToString())
    assert decode_robot_spec(message) == spec


@given(policy_specs)
def test_a_policy_spec_arrives_as_it_was(spec: PolicySpec) -> None:
    """A policy's spec comes back equal and with the same hash."""
    message = pb.PolicySpec.FromString(encode_policy_spec(spec).SerializeToString())
    assert decode_policy_spec(message) == spec
    assert decode_policy_spec(message).spec_hash() == spec.spec_hash()


@given(guidances)
def test_guidance_arrives_as_it_was(guidance: Guidance) -> None:
    """Every choice of guidance comes back equal, an absent window included."""
    message = pb.Guidance.FromString(encode_guidance(guidance).SerializeToString())
    assert decode_guidance(message) == guidance


BAD_ROBOTS: dict[str, tuple[str, Callable[[pb.RobotSpec], object]]] = {
    "no type": ("robot_type: empty", lambda m: m.ClearField("robot_type")),
    "no joints": ("state: count", lambda m: m.observation.ClearField("state")),
    "no actions": ("action: count", lambda m: m.ClearField("action")),
    "a joint twice": ("pan appears more", lambda m: m.action.add().CopyFrom(m.action[0])),
    "newline in a joint": ("control character", lambda m: setattr(m.action[0], "name", "a\nb")),
    "unknown kind": ("kind: unknown value 77", lambda m: setattr(m.action[0], "kind", 77)),
    "limits swapped": ("low: 1.0 is outside", lambda m: _limits(m.action[0], 1.0, -1.0)),
    "limit NaN": ("pan: low", lambda m: _limits(m.action[0], float("nan"), 1.0)),
    "speed negative": ("max_speed", lambda m: setattr(m.action[0], "max_speed", -1.0)),
    "camera without size": ("size", lambda m: setattr(m.observation.cameras[0], "height", 0)),
    "camera of 65535": ("pixels", lambda m: _size(m.observation.cameras[0], 65_535)),
    "camera negative": ("height", lambda m: setattr(m.observation.cameras[0], "height", -1)),
    "1000 joints": ("count", lambda m: m.action.extend([m.action[0]] * 1000)),
    "100 cameras": ("count", lambda m: m.observation.cameras.extend([m.observation.cameras[0]] * 100)),
    "environment twice": ("cube_x appears", lambda m: m.observation.environment.append("cube_x")),
}


def _limits(dimension: pb.Dimension, low: float, high: float) -> None:
    dimension.low, dimension.high = low, high


def _size(camera: pb.CameraSpec, side: int) -> None:
    camera.height = camera.width = side


@pytest.mark.parametrize(("text", "spoil"), BAD_ROBOTS.values(), ids=BAD_ROBOTS)
def test_a_robot_that_cannot_be_is_refused(text: str, spoil: Callable[[pb.RobotSpec], object]) -> None:
    """A robot's spec with an impossible field is refused, and the field is named."""
    message = encode_robot_spec(ROBOT)
    spoil(message)
    with pytest.raises(RemoteProtocolError, match=text):
        decode_robot_spec(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [("horizon", 0), ("horizon", 10**9), ("action_hz", 0.0), ("action_hz", float("nan")), ("name", "")],
)
def test_a_policy_that_cannot_be_is_refused(field: str, value: float | str) -> None:
    """A policy's spec with an impossible field is refused, and the field is named."""
    message = encode_policy_spec(POLICY)
    setattr(message, field, value)
    with pytest.raises(RemoteProtocolError, match=field):
        decode_policy_spec(message)


def test_a_policy_may_declare_ten_minutes_for_an_inference_and_no_more() -> None:
    """A client waits as long as a policy says, so more than 600 s and less than none are refused by name."""
    slow = replace(POLICY, warm_inference_ns=600 * NS_PER_S)
    message = encode_policy_spec(slow)
    assert decode_policy_spec(message) == slow
    for duration_ns in (600 * NS_PER_S + 1, 2**62, -1):
        message.warm_inference_ns = duration_ns
        with pytest.raises(RemoteProtocolError, match=r"policy\.warm_inference_ns"):
            decode_policy_spec(message)


def test_a_policys_camera_may_be_of_any_size() -> None:
    """A camera of size 0 in a policy's spec means any size and passes."""
    any_size = replace(POLICY, observation=ObservationSpec(JOINTS, (), (CameraSpec("front"),)))
    assert decode_policy_spec(encode_policy_spec(any_size)) == any_size


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", 0),
        ("strategy", 9),
        ("mode", 9),
        ("schedule", 9),
        ("jacobian", 9),
        ("prefix_end", 0),
        ("prefix_end", -1),
        ("max_weight", -1.0),
        ("max_weight", float("nan")),
    ],
)
def test_guidance_that_cannot_be_is_refused(field: str, value: float) -> None:
    """An unknown choice or a number out of range is refused, and the field is named."""
    message = encode_guidance(Guidance())
    setattr(message, field, value)
    with pytest.raises(RemoteProtocolError, match=f"guidance.{field}"):
        decode_guidance(message)


@pytest.mark.parametrize("fit", [*Fit, None])
def test_a_fit_arrives_as_it_was(fit: Fit | None) -> None:
    """How a policy wants its pictures fitted comes back, and that it says nothing, too."""
    camera = CameraSpec("front", 224, 224, fit=fit)
    policy = replace(POLICY, observation=ObservationSpec(JOINTS, (), (camera,)))
    assert decode_policy_spec(encode_policy_spec(policy)) == policy


def test_a_fit_of_a_newer_peer_means_as_the_camera_sends_it() -> None:
    """A number that this side does not know is no refusal: the other side does the fitting."""
    camera = CameraSpec("front", 224, 224, fit=Fit.STRETCH)
    policy = replace(POLICY, observation=ObservationSpec(JOINTS, (), (camera,)))
    message = encode_policy_spec(policy)
    message.observation.cameras[0].fit = 99  # type: ignore[assignment]
    decoded = decode_policy_spec(message)
    assert decoded.observation.cameras[0].geometry is None
    assert decoded.spec_hash() == policy.spec_hash()
