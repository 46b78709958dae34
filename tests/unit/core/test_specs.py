"""What differs between a robot and a policy, and the hash of a specification."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given

from segue.core.resize import Fit, Geometry
from segue.core.specs import (
    ActionSpec,
    CameraSpec,
    Dimension,
    Kind,
    ObservationSpec,
    PolicySpec,
    RobotSpec,
    differences,
    guidance_difference,
    respecified,
)
from segue.core.types import Guidance, RtcMode, Strategy
from tests.unit.wire.wire_samples import policy_specs

PAN, LIFT = Dimension("pan", "deg", low=-90.0, high=90.0, max_speed=120.0), Dimension("lift", "deg")
GRIP = Dimension("grip", "percent", Kind.DISCRETE, 0.0, 100.0)
JOINTS = (PAN, LIFT, GRIP)
FRONT, WRIST = CameraSpec("front", 480, 640), CameraSpec("wrist", 480, 640)
ROBOT = RobotSpec("arm", ObservationSpec(JOINTS, ("cube_x",), (FRONT, WRIST)), ActionSpec(JOINTS))
POLICY = PolicySpec(
    name="builtin:test",
    observation=ObservationSpec(JOINTS, ("cube_x",), (WRIST,)),
    action=ActionSpec(JOINTS),
    action_hz=30.0,
    horizon=50,
    model_action_dim=3,
    history_steps=0,
    rtc_modes=("guided",),
    warm_inference_ns=10,
    policy_hash="abc",
)


def with_joints(*joints: Dimension) -> PolicySpec:
    return replace(POLICY, observation=replace(POLICY.observation, state=joints))


def test_a_policy_that_fits_has_no_differences() -> None:
    """A camera that the policy does not ask for, another picture size or another limit is no difference."""
    assert differences(ROBOT, POLICY) == []
    relaxed = replace(POLICY.observation, cameras=(replace(WRIST, height=224, width=224),), environment=())
    assert differences(ROBOT, replace(POLICY, observation=relaxed)) == []
    assert differences(ROBOT, with_joints(replace(PAN, high=80.0), LIFT, GRIP)) == []


@pytest.mark.parametrize(
    "joints",
    [
        (LIFT, PAN, GRIP),
        (PAN, LIFT),
        (PAN, LIFT, GRIP, LIFT),
        (replace(PAN, name="base"), LIFT, GRIP),
        (replace(PAN, unit="rad"), LIFT, GRIP),
        (PAN, LIFT, replace(GRIP, kind=Kind.POSITION)),
        (),
    ],
    ids=["order", "fewer", "more", "name", "unit", "kind", "none"],
)
def test_joints_that_differ_are_listed_with_both_sides(joints: tuple[Dimension, ...]) -> None:
    """Another order, number, name, unit or kind is one sentence that shows what either side has."""
    theirs = "(" + ", ".join(str(j) for j in joints) + ")" if joints else "none"
    mine = "(pan [deg, position], lift [deg, position], grip [percent, discrete])"
    assert differences(ROBOT, with_joints(*joints)) == [f"joints: robot has {mine}, policy expects {theirs}"]
    of_actions = differences(ROBOT, replace(POLICY, action=ActionSpec(joints)))
    assert of_actions == [f"actions: robot has {mine}, policy expects {theirs}"]


def test_every_difference_is_listed() -> None:
    """Joints, actions, environment and cameras each have their sentence, all at once."""
    seen = ObservationSpec((LIFT,), ("cube_y",), (CameraSpec("top", 2, 3),))
    found = differences(ROBOT, replace(POLICY, observation=seen, action=ActionSpec((LIFT,))))
    assert [f.split(":")[0] for f in found] == ["joints", "actions", "environment state", "cameras"]
    assert found[2] == "environment state: robot has (cube_x), policy expects (cube_y)"
    assert found[3] == ("cameras: robot has (front [640x480], wrist [640x480]), policy expects (top [3x2])")


@pytest.mark.parametrize(
    ("low", "high", "apart"),
    [(90.1, 300.0, True), (-300.0, -90.1, True), (90.0, 300.0, False), (-1.57, 1.57, False)],
)
def test_limits_without_a_common_value_are_a_difference(low: float, high: float, apart: bool) -> None:
    """A policy whose joint lies where the robot's cannot be is for another joint; others are clipped."""
    theirs = replace(PAN, low=low, high=high)
    said = f"robot has pan [deg, position] within -90.0..90.0, policy within {low}..{high}"
    of_actions = replace(POLICY, action=ActionSpec((theirs, LIFT, GRIP)))
    assert differences(ROBOT, of_actions) == ([f"actions: {said}"] if apart else [])
    assert differences(ROBOT, with_joints(theirs, LIFT, GRIP)) == ([f"joints: {said}"] if apart else [])


def test_a_long_list_ends_with_how_many_more_there_are() -> None:
    """Whoever lists hundreds of long names fills a page of the terminal and not ten."""
    many = tuple(Dimension(f"{number}" * 40, "deg") for number in range(100, 356))
    (said,) = differences(ROBOT, with_joints(*many))
    assert len(said) < 4_000
    shown = said.count("deg, position], ")
    assert said.endswith(f", … and {256 - (shown - 2)} more)")


@pytest.mark.parametrize("modes", [(), ("trained",), ("guided", "trained")])
@pytest.mark.parametrize("strategy", Strategy)
def test_a_mode_that_the_policy_lacks_is_a_difference(strategy: Strategy, modes: tuple[str, ...]) -> None:
    """Only a robot that asks for a leftover to be continued needs a policy that can, in its mode."""
    found = guidance_difference(Guidance(strategy, RtcMode.GUIDED), replace(POLICY, rtc_modes=modes))
    lacks = strategy is Strategy.RTC and "guided" not in modes
    assert (found is not None) == lacks
    if found is not None:
        assert found == (
            "guidance: robot asks for rtc in mode guided, policy offers " + (", ".join(modes) or "none")
        )


def test_a_policy_that_measures_itself_anew_is_the_same() -> None:
    """A restarted server declares another duration, and nothing else about the policy has changed."""
    assert respecified(POLICY, replace(POLICY, warm_inference_ns=10**9)) == []


SEEN = POLICY.observation
THREE = "(pan [deg, position], lift [deg, position], grip [percent, discrete])"
RESPECIFIED = {
    "name": (replace(POLICY, name="x"), "name: the run began with builtin:test, the server offers x now"),
    "rate": (
        replace(POLICY, action_hz=50.0),
        "action_hz: the run began with 30.0, the server offers 50.0 now",
    ),
    "horizon": (replace(POLICY, horizon=8), "horizon: the run began with 50, the server offers 8 now"),
    "width": (
        replace(POLICY, model_action_dim=32),
        "model_action_dim: the run began with 3, the server offers 32 now",
    ),
    "history": (
        replace(POLICY, history_steps=64),
        "history_steps: the run began with 0, the server offers 64 now",
    ),
    "modes": (
        replace(POLICY, rtc_modes=()),
        "rtc_modes: the run began with (guided), the server offers none now",
    ),
    "hash": (
        replace(POLICY, policy_hash="b"),
        "policy_hash: the run began with abc, the server offers b now",
    ),
    "joints reversed": (
        with_joints(*JOINTS[::-1]),
        f"joints: the run began with {THREE}, the "
        "server offers (grip [percent, discrete], lift [deg, position], pan [deg, position]) now",
    ),
    "an action more": (
        replace(POLICY, action=ActionSpec((*JOINTS, Dimension("roll", "deg")))),
        f"actions: the run began with {THREE}, the "
        "server offers (pan [deg, position], lift [deg, position], grip [percent, discrete], roll [deg, "
        "position]) now",
    ),
    "radians": (
        replace(POLICY, action=ActionSpec((replace(PAN, unit="rad"), LIFT, GRIP))),
        f"actions: the run began with {THREE}, the "
        "server offers (pan [rad, position], lift [deg, position], grip [percent, discrete]) now",
    ),
    "limits": (
        with_joints(replace(PAN, high=90.00000000000001), LIFT, GRIP),
        "joints: limits of pan [deg, position]: the run began with -90.0..90.0 and 120.0 a second, "
        "the server offers -90.0..90.00000000000001 and 120.0 a second now",
    ),
    "environment": (
        replace(POLICY, observation=replace(SEEN, environment=())),
        "environment state: the run began with (cube_x), the server offers none now",
    ),
    "fit": (
        replace(POLICY, observation=replace(SEEN, cameras=(replace(WRIST, fit=Fit.STRETCH),))),
        "cameras: the run began with (wrist [640x480], 30.0 Hz, as it comes), the server offers (wrist "
        "[640x480], 30.0 Hz, stretch) now",
    ),
}


@pytest.mark.parametrize(("now", "said"), RESPECIFIED.values(), ids=RESPECIFIED)
def test_what_changed_since_the_run_began_is_said_with_both_sides(now: PolicySpec, said: str) -> None:
    """Another order, unit, width, rate, length, mode, limit or fit is one sentence under whatever hash."""
    assert respecified(POLICY, now) == [said]


@given(policy_specs, policy_specs)
def test_nothing_but_the_timing_may_change(first: PolicySpec, now: PolicySpec) -> None:
    """There are no sentences exactly when every field but the declared duration is equal."""
    assert respecified(first, replace(first, warm_inference_ns=now.warm_inference_ns)) == []
    same = replace(now, warm_inference_ns=first.warm_inference_ns) == first
    assert (respecified(first, now) == []) == same


def test_every_field_of_a_policy_is_compared() -> None:
    """A field that is added to the spec is compared, or this test says that it is not."""
    for each in fields(PolicySpec):
        if each.name in ("observation", "action", "warm_inference_ns"):
            continue
        other = replace(POLICY, **{each.name: ("x",) if each.name == "rtc_modes" else -1})
        assert respecified(POLICY, other), each.name


HASH_IN_ANOTHER_PROCESS = """
import sys
from segue.core.specs import *
joints = (Dimension("pan", "deg", low=-90.0, high=90.0, max_speed=120.0), Dimension("lift", "deg"),
          Dimension("grip", "percent", Kind.DISCRETE, 0.0, 100.0))
seen = ObservationSpec(joints, ("cube_x",), (CameraSpec("wrist", 480, 640),))
spec = PolicySpec("builtin:test", seen, ActionSpec(joints), 30.0, 50, 3, 0, ("guided",), 99, "abc")
sys.stdout.write(spec.spec_hash())
"""


@pytest.mark.e2e
@pytest.mark.parametrize("hash_seed", ["0", "1234"])
def test_the_hash_is_the_same_in_every_process(hash_seed: str) -> None:
    """A process with another seed for its own hashes computes the same one, whatever its timing."""
    done = subprocess.run(
        [sys.executable, "-c", HASH_IN_ANOTHER_PROCESS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert done.stdout == POLICY.spec_hash()


@pytest.mark.parametrize(
    "other",
    [
        with_joints(LIFT, PAN, GRIP),
        with_joints(PAN, replace(LIFT, unit="rad"), GRIP),
        with_joints(replace(PAN, high=91.0), LIFT, GRIP),
        replace(POLICY, action=ActionSpec((GRIP, PAN, LIFT))),
        replace(POLICY, action_hz=20.0),
        replace(POLICY, horizon=51),
        replace(POLICY, rtc_modes=()),
        replace(POLICY, policy_hash="abd"),
        replace(POLICY, history_steps=1),
    ],
)
def test_the_hash_tells_specifications_apart(other: PolicySpec) -> None:
    """Any other field, and any other order, gives another hash."""
    assert other.spec_hash() != POLICY.spec_hash()


def test_the_hash_forgets_the_timing_only() -> None:
    """The declared inference time is measured anew at each start, and is no reason to open again."""
    assert replace(POLICY, warm_inference_ns=77).spec_hash() == POLICY.spec_hash()


def test_the_hash_is_the_one_from_before_there_were_fits() -> None:
    """A policy that says how pictures are fitted has the hash that a peer without fits finds."""
    fitted = replace(WRIST, fit=Fit.PAD_CENTER)
    policy = replace(POLICY, observation=replace(POLICY.observation, cameras=(fitted,)))
    assert policy.spec_hash() == POLICY.spec_hash() == "ddd0218d742d46b9"


@pytest.mark.parametrize("missing", [{"fit": None}, {"height": 0}, {"width": 0}])
def test_a_geometry_needs_size_and_fit(missing: dict[str, object]) -> None:
    """Only a camera with a size and a fit has a geometry, and a policy names those that have."""
    camera = CameraSpec("front", 224, 256, fit=Fit.STRETCH)
    lacking = replace(camera, name="wrist", **missing)  # type: ignore[arg-type]
    policy = replace(POLICY, observation=replace(POLICY.observation, cameras=(camera, lacking)))
    assert policy.geometries == {"front": Geometry(224, 256, Fit.STRETCH)}


def test_the_hash_does_not_tell_whole_numbers_from_floats() -> None:
    """30 Hz written as a whole number or as a float is the same rate: it travels as a float."""
    assert replace(POLICY, action_hz=30).spec_hash() == replace(POLICY, action_hz=30.0).spec_hash()


def test_numbers_and_kinds_by_dimension() -> None:
    """Fields come as arrays in the order of the dimensions, infinite where there is no limit."""
    spec = ActionSpec(JOINTS)
    assert spec.names == ("pan", "lift", "grip")
    assert spec.array("low").tolist() == [-90.0, -np.inf, 0.0]
    assert spec.mask(Kind.DISCRETE).tolist() == [False, False, True]
    assert spec.mask(Kind.DISCRETE, Kind.POSITION).tolist() == [True, True, True]
    assert len(spec) == 3
