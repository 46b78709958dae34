"""What differs between a robot and a policy, and the hash of a specification."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

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
)

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
