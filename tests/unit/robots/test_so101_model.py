from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.specs import Kind
from segue.robots import so101_model
from segue.robots.engine import mujoco

# Measured on the public SO-101 model: offset from the parent joint (m), axis at q = 0, range (rad),
# mass of the link (kg).
MEASURED = {
    "shoulder_pan": ((0.0388, 0, 0.0624), (0, 0, -1), (-1.9199, 1.9199), 0.100),
    "shoulder_lift": ((0.0304, -0.0183, 0.0542), (0, 1, 0), (-1.7453, 1.7453), 0.103),
    "elbow_flex": ((0.0280, 0, 0.11257), (0, 1, 0), (-1.69, 1.69), 0.104),
    "wrist_flex": ((0.1349, 0, 0.0052), (0, 1, 0), (-1.6581, 1.6581), 0.079),
    "wrist_roll": ((0.0611, 0.0181, 0), (-1, 0, 0), (-2.7438, 2.8412), 0.087),
    "gripper": ((0.0234, 0.0188, 0.0202), (0, -1, 0), (-0.1745, 1.7453), 0.012),
}


@pytest.fixture(scope="module")
def arm():
    model = mujoco.MjModel.from_xml_string(so101_model.arm_mjcf())
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_joints_sit_and_turn_as_measured(arm) -> None:
    """At zero every joint's anchor is the sum of the measured offsets, and its axis the measured one."""
    model, data = arm
    anchor = np.zeros(3)
    for name, (offset, axis, limits, mass) in MEASURED.items():
        anchor = anchor + offset
        np.testing.assert_allclose(data.joint(name).xanchor, anchor, atol=6e-5, err_msg=name)
        np.testing.assert_allclose(data.joint(name).xaxis, axis, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(model.joint(name).range, limits, atol=1e-9, err_msg=name)
        assert model.body(name).mass == pytest.approx(mass)


def test_tool_centre_lies_ahead_of_and_below_the_roll_axis(arm) -> None:
    """The tool centre is 98.1 mm ahead of the roll joint and 7.9 mm below its axis."""
    _, data = arm
    offset = data.site("tool").xpos - data.joint("wrist_roll").xanchor
    np.testing.assert_allclose(offset, [0.0981, 0.0, -0.0079], atol=6e-5)


@pytest.mark.parametrize(("radians", "gap_mm"), [(0.0, 18), (0.3, 43), (0.6, 66)])
def test_jaws_open_as_wide_as_measured(radians: float, gap_mm: float) -> None:
    """The gap between the pads' tips is the measured one within 2.5 mm."""
    model = mujoco.MjModel.from_xml_string(so101_model.arm_mjcf())
    data = mujoco.MjData(model)
    data.joint("gripper").qpos[0] = radians
    mujoco.mj_forward(model, data)
    fixed, moving = (max(_geoms(model, body)) for body in ("wrist_roll", "gripper"))
    inner_face = data.geom_xpos[fixed] + _face(model, data, fixed, up=1)
    reach = model.geom_size[moving][0] * data.geom_xmat[moving].reshape(3, 3)[:, 0]
    tip = data.geom_xpos[moving] + _face(model, data, moving, up=-1) + reach
    across = data.geom_xmat[fixed].reshape(3, 3)[:, 2]
    assert 1000 * (tip - inner_face) @ across == pytest.approx(gap_mm, abs=2.5)


def test_dimensions_are_those_of_so101_follower() -> None:
    """Five joints in degrees with zero in the middle of their range, a gripper from 0 to 100."""
    dimensions = so101_model.dimensions()
    assert [d.name for d in dimensions] == list(MEASURED)
    assert [d.unit for d in dimensions] == ["deg"] * 5 + ["percent"]
    assert all(d.kind is Kind.POSITION for d in dimensions)
    for d in dimensions[:5]:
        assert d.low == pytest.approx(-d.high)
        low, high = MEASURED[d.name][2]
        assert d.high == pytest.approx(np.degrees(high - low) / 2)
    assert (dimensions[5].low, dimensions[5].high) == (0.0, 100.0)


def test_no_command_may_outrun_the_servo() -> None:
    """Every speed limit is below what an STS3215 turns at 7.4 V without load, 312 degrees a second."""
    *body, gripper = so101_model.dimensions()
    assert all(0 < d.max_speed < 312 for d in body)
    low, high = MEASURED["gripper"][2]
    assert 0 < gripper.max_speed * np.degrees(high - low) / 100 < 312


@given(st.lists(st.floats(-200, 200), min_size=6, max_size=6))
def test_units_survive_the_way_to_radians_and_back(units: list[float]) -> None:
    """Converting to radians and back returns the same units."""
    there = so101_model.to_radians(np.array(units))
    np.testing.assert_allclose(so101_model.to_units(there), units, atol=1e-9)


def test_rest_pose_is_within_the_limits() -> None:
    """PARK's target is a pose that the arm may take."""
    for value, d in zip(so101_model.REST_POSE, so101_model.dimensions(), strict=True):
        assert d.low <= value <= d.high


def _geoms(model, body: str) -> list[int]:
    """The geoms of a body; its pad is the last."""
    first = int(model.body(body).geomadr[0])
    return list(range(first, first + int(model.body(body).geomnum[0])))


def _face(model, data, geom: int, up: int):
    return up * model.geom_size[geom][2] * data.geom_xmat[geom].reshape(3, 3)[:, 2]
