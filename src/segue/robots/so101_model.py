"""The SO-101 as numbers: its joints, its units, and a MuJoCo model of plain shapes.

One table says where each joint sits, about which axis it turns and how far.
From it come the robot's `Dimension`s, the conversion between *units* (degrees
and percent, as LeRobot's `so101_follower` has them) and radians, and the MJCF
text of the arm. At zero radians every frame is aligned with the world, x ahead
and z up; zero degrees is the middle of a joint's range, and the gripper counts
0 (closed) to 100 (open), linear in its angle.

Only the jaws collide: they alone have to touch a cube. This file writes text
and converts numbers; it never imports MuJoCo and knows nothing of belts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segue.core.specs import Dimension
from segue.core.types import FloatArray

Vector = tuple[float, float, float]

# An STS3215 turns 52 times a minute at 7.4 V without load, 312 degrees a second. The arm is
# asked for a little more than half of that, since it carries itself; the gripper, which carries
# nothing, for 220 degrees a second: 30 percent of its stroke (open above a cube -> closed on
# it) in 0.15 s.
BODY_SPEED_DEG_S = 180.0
GRIPPER_SPEED_PERCENT_S = 200.0


@dataclass(frozen=True, slots=True)
class Joint:
    """One joint and the link that it moves.

    Attributes:
        name: LeRobot's name, also the name of the actuator.
        offset: from the parent joint, metres, at q = 0.
        axis: unit vector at q = 0.
        low, high: range in radians.
        mass: of the link, kg.
        center: the link's centre of mass in its own frame, metres.
        inertia: about that centre, diagonal, kg m^2.
    """

    name: str
    offset: Vector
    axis: Vector
    low: float
    high: float
    mass: float
    center: Vector
    inertia: Vector


# fmt: off
JOINTS = (
    Joint("shoulder_pan", (.0388, 0, .0624), (0, 0, -1), -1.9199, 1.9199,
          .100, (.0308, 0, .0253), (8.4e-5, 8.1e-5, 2.4e-5)),
    Joint("shoulder_lift", (.0304, -.0183, .0542), (0, 1, 0), -1.7453, 1.7453,
          .103, (.0084, .0184, .0898), (1.5e-4, 1.4e-4, 4.1e-5)),
    Joint("elbow_flex", (.0280, 0, .11257), (0, 1, 0), -1.69, 1.69,
          .104, (.0981, .0183, .0032), (2.9e-5, 1.6e-4, 1.5e-4)),
    Joint("wrist_flex", (.1349, 0, .0052), (0, 1, 0), -1.6581, 1.6581,
          .079, (.0386, .0281, 0), (2.5e-5, 3.7e-5, 2.1e-5)),
    Joint("wrist_roll", (.0611, .0181, 0), (-1, 0, 0), -2.7438, 2.8412,
          .087, (.0252, 0, 0), (3.5e-5, 4.3e-5, 2.8e-5)),
    Joint("gripper", (.0234, .0188, .0202), (0, -1, 0), -.1745, 1.7453,
          .012, (.030, -.0193, -.0016), (1.9e-6, 5.3e-6, 6.6e-6)),
)
# fmt: on
NAMES = tuple(joint.name for joint in JOINTS)
BODY_JOINTS = 5  # all but the gripper

TOOL_CENTER: Vector = (0.0981, 0.0, -0.0079)  # in the frame of wrist_roll
PINCH_CENTER: Vector = (0.092, 0.0, 0.012)  # middle of the open jaws, where a cube is taken

_LOW = np.array([joint.low for joint in JOINTS])
_HIGH = np.array([joint.high for joint in JOINTS])
# units = (radians - zero) * scale
_ZERO = np.append((_LOW + _HIGH)[:BODY_JOINTS] / 2, _LOW[BODY_JOINTS])
_SCALE = np.append(np.full(BODY_JOINTS, 180.0 / math.pi), 100.0 / (_HIGH - _LOW)[BODY_JOINTS])

# Where it starts and where PARK takes it: raised behind the belt, jaws a little open.
REST_POSE: FloatArray = np.array([0.0, -75.0, 65.0, 68.0, 0.0, 20.0])
REST_POSE.setflags(write=False)


def to_units(radians: FloatArray) -> FloatArray:
    """Returns joint angles, shape (..., 6), in robot units: five in degrees, the gripper in percent."""
    units: FloatArray = (radians - _ZERO) * _SCALE
    return units


def to_radians(units: FloatArray) -> FloatArray:
    """Returns robot units, shape (..., 6), as joint angles in radians; the inverse of `to_units`."""
    radians: FloatArray = units / _SCALE + _ZERO
    return radians


def dimensions() -> tuple[Dimension, ...]:
    """Returns the six joints with the limits of their range and the speed that a command may have."""
    low, high = to_units(_LOW), to_units(_HIGH)
    body = [
        Dimension(name, "deg", low=float(low[i]), high=float(high[i]), max_speed=BODY_SPEED_DEG_S)
        for i, name in enumerate(NAMES[:BODY_JOINTS])
    ]
    grip = Dimension(NAMES[BODY_JOINTS], "percent", low=0.0, high=100.0, max_speed=GRIPPER_SPEED_PERCENT_S)
    return (*body, grip)


# What each link looks like. `print` is the coloured plastic, `motor` a servo of 45 x 25 x 40 mm;
# both are pictures only. `jaw` collides, `pad` is what holds a cube.
_SHAPES: dict[str, str] = {
    "base": """
      <geom class="print" type="box" pos=".021 0 .017" size=".043 .055 .017"/>
      <geom class="print" type="cylinder" pos=".0388 0 .048" size=".030 .014"/>
      <geom class="motor" pos=".0263 0 .0441"/>
      <geom class="board" type="box" pos="-.027 0 .047" size=".004 .0255 .021"/>""",
    "shoulder_pan": """
      <geom class="print" type="cylinder" pos="0 0 -.004" size=".026 .007"/>
      <geom class="print" type="box" pos=".018 0 -.001" size=".026 .023 .006"/>
      <geom class="motor" pos=".0304 0 .0417" size=".0124 .0198 .0227"/>
      <geom class="print" type="box" pos=".030 0 .022" size=".019 .027 .012"/>""",
    "shoulder_lift": """
      <geom class="print" type="cylinder" pos="0 .0183 0" size=".017 .021" euler="1.5708 0 0"/>
      <geom class="print" type="capsule" fromto=".002 .0183 .010 .020 .0183 .098" size=".0135"/>
      <geom class="motor" pos=".0155 .0187 .1126" size=".0227 .0198 .0124"/>""",
    "elbow_flex": """
      <geom class="print" type="cylinder" pos="0 .0183 0" size=".016 .021" euler="1.5708 0 0"/>
      <geom class="print" type="capsule" fromto=".012 .0183 0 .104 .0183 .003" size=".0125"/>
      <geom class="motor" pos=".1224 .0187 .0052"/>""",
    "wrist_flex": """
      <geom class="print" type="cylinder" pos="0 .0181 0" size=".0145 .021" euler="1.5708 0 0"/>
      <geom class="print" type="box" pos=".020 .0181 0" size=".020 .017 .013"/>
      <geom class="motor" pos=".0424 .0306 0" size=".0198 .0227 .0124"/>""",
    "wrist_roll": f"""
      <geom class="motor" pos=".0234 0 .0077" size=".0124 .0198 .0227"/>
      <geom class="print" type="cylinder" pos=".006 0 0" size=".018 .006" euler="0 1.5708 0"/>
      <geom class="print" type="box" pos=".026 0 -.014" size=".018 .022 .016"/>
      <geom class="jaw" pos=".070 0 -.0225" size=".028 .010 .0085"/>
      <geom class="pad" pos=".0865 0 -.0135" size=".018 .0065 .0055"/>
      <site name="tool" pos="{TOOL_CENTER[0]} {TOOL_CENTER[1]} {TOOL_CENTER[2]}" group="4"/>
      <site name="pinch" pos="{PINCH_CENTER[0]} {PINCH_CENTER[1]} {PINCH_CENTER[2]}" group="4"/>
      <camera name="wrist" pos=".02 -.075 0" xyaxes=".6 -.8 0 0 0 1" fovy="75"/>""",
    "gripper": """
      <geom class="print" type="cylinder" pos="0 -.0189 0" size=".011 .019" euler="1.5708 0 0"/>
      <geom class="jaw" pos=".046 -.0189 0" size=".034 .009 .006"/>
      <geom class="pad" pos=".066 -.0189 -.0065" size=".016 .0065 .0055"/>""",
}

# Damping, friction and armature are the servo's, measured; a box held by two boxes needs pads
# with torsional friction (condim 4), or it turns out of the fingers.
DEFAULTS = """
  <joint damping=".60" frictionloss=".052" armature=".028"/>
  <position kp="998.22" kv="2.731" forcerange="-3.35 3.35"/>
  <default class="print"><geom contype="0" conaffinity="0" rgba=".98 .62 .12 1"/></default>
  <default class="motor"><geom type="box" size=".0227 .0124 .0198" contype="0" conaffinity="0"
    rgba=".13 .13 .15 1"/></default>
  <default class="board"><geom contype="0" conaffinity="0" rgba=".10 .42 .24 1"/></default>
  <default class="jaw"><geom type="box" rgba=".98 .62 .12 1"/></default>
  <default class="pad"><geom type="box" rgba=".20 .20 .22 1" condim="4" friction="1.2 .02 .0005"
    solref=".01 1"/></default>"""

CONTACT = '<contact><exclude body1="wrist_roll" body2="gripper"/></contact>'


def arm_body() -> str:
    """Returns the arm's bodies as MJCF, a chain with one `<body>` per joint named after it."""
    inner = ""
    for joint in reversed(JOINTS):
        damping = ' damping=".2"' if joint.name == "gripper" else ""  # lighter gears, faster jaw
        inner = f"""
    <body name="{joint.name}" pos="{_text(joint.offset)}">
      <joint name="{joint.name}" axis="{_text(joint.axis)}" range="{joint.low} {joint.high}"{damping}/>
      {_inertial(joint.center, joint.mass, joint.inertia)}{_SHAPES[joint.name]}{inner}
    </body>"""
    base = _inertial((0.0137, 0, 0.0335), 0.147, (1.15e-4, 1.36e-4, 1.3e-4))
    return f'<body name="base">{base}{_SHAPES["base"]}{inner}</body>'


def actuators() -> str:
    """Returns one position servo per joint as MJCF; the gripper's is weaker, so that it stalls on a cube."""
    rows = []
    for joint in JOINTS:
        soft = ' kp="100" kv="1" forcerange="-1.5 1.5"' if joint.name == "gripper" else ""
        rows.append(
            f'<position name="{joint.name}" joint="{joint.name}" ctrlrange="{joint.low} {joint.high}"{soft}/>'
        )
    return "<actuator>" + "".join(rows) + "</actuator>"


def arm_mjcf() -> str:
    """Returns a model of the arm alone, for kinematics."""
    return f"""<mujoco model="so101">
  <compiler angle="radian" autolimits="true"/><default>{DEFAULTS}</default>
  <worldbody>{arm_body()}</worldbody>{CONTACT}{actuators()}</mujoco>"""


def _inertial(center: Vector, mass: float, inertia: Vector) -> str:
    return f'<inertial pos="{_text(center)}" mass="{mass}" diaginertia="{_text(inertia)}"/>'


def _text(numbers: Vector) -> str:
    return " ".join(f"{n:g}" for n in numbers)
