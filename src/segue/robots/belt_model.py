"""The scene as text: the arm beside a conveyor belt, cubes, two fixed cameras, light.

The belt lies across the arm's front and carries cubes along +y. Its ends hide
in two hoods, inside which cubes appear and vanish. A pool of cubes with free
joints is used over and over; those not in play are parked behind the arm,
where no camera looks. Physics and pictures are built from the same text, so
that a renderer in another process needs nothing but positions.
"""

from __future__ import annotations

from segue.robots import so101_model

CAMERA_NAMES = ("top", "front", "wrist")

TIMESTEP_S = 0.002  # five steps in a tick of 100 Hz

CUBE_HALF_M = 0.0125
BELT_TOP_M = 0.020
BELT_CENTER_X_M = 0.19
BELT_HALF_WIDTH_M = 0.055
SPAWN_Y_M = -0.31  # inside the first hood
VISIBLE_Y_M = -0.25  # a cube's centre is clear of the first hood from here
END_Y_M = 0.29  # inside the second hood
SLAT_PITCH_M = 0.06
PARKING: tuple[float, float, float] = (-2.0, 0.0, 3.0)

_CUBE_COLORS = (".90 .12 .12", ".10 .55 .95", ".12 .75 .25", ".95 .20 .75", ".98 .90 .15", ".10 .80 .80")


def scene_mjcf(cubes: int, width: int = 640, height: int = 480) -> str:
    """Returns the whole scene as MJCF.

    Args:
        cubes: size of the pool.
        width: of the largest picture that will be rendered, pixels.
        height: likewise.
    """
    # No shadows, no multisampling, a plain and finite floor, few facets: a 640 x 480 picture
    # costs 3.5 ms of CPU instead of forty.
    return f"""<mujoco model="so101_belt">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality shadowsize="0" offsamples="0" numslices="16" numstacks="8" numquads="1"/>
    <headlight ambient=".42 .42 .42" diffuse=".28 .28 .28" specular=".1 .1 .1"/><map znear=".02"/>
  </visual>
  <statistic extent="1"/>
  <asset><material name="floor" rgba=".60 .63 .66 1" specular="0" shininess="0"/></asset>
  <default>{so101_model.DEFAULTS}
    <default class="picture"><geom contype="0" conaffinity="0"/></default>
    <default class="cube"><geom type="box" size="{CUBE_HALF_M} {CUBE_HALF_M} {CUBE_HALF_M}" mass=".02"
      friction="1 .01 .0005" condim="4" solref=".01 1"/></default>
  </default>
  <worldbody>
    <light directional="true" castshadow="false" pos=".5 -.4 1.2" dir="-.35 .3 -1" diffuse=".55 .55 .52"/>
    <geom name="floor" type="plane" size="12 12 1" material="floor"/>
    <camera name="top" pos=".22 0 .75" xyaxes="0 -1 0 1 0 0" fovy="45"/>
    <camera name="front" pos=".72 0 .38" xyaxes="0 1 0 -.55 0 1" fovy="50"/>
    {_belt()}
    {so101_model.arm_body()}
    {"".join(_cube(i) for i in range(cubes))}
  </worldbody>{so101_model.CONTACT}{so101_model.actuators()}</mujoco>"""


def _belt() -> str:
    x, half, top = BELT_CENTER_X_M, BELT_HALF_WIDTH_M, BELT_TOP_M
    rail, hood = half + 0.004, half + 0.012
    slats = "".join(
        f'<geom class="picture" type="box" pos="0 {(k - 5) * SLAT_PITCH_M:.3f} 0" size="{half} .003 .0004"'
        ' rgba=".34 .35 .38 1"/>'
        for k in range(11)
    )
    return f"""
    <geom name="belt" type="box" pos="{x} 0 {top / 2}" size="{half} .60 {top / 2}" friction="1 .01 .0005"
      condim="4" surfacevel="0 .05 0 0 0 0" rgba=".15 .16 .18 1"/>
    <body name="slats" mocap="true" pos="{x} 0 {top}">{slats}</body>
    <geom class="picture" type="box" pos="{x - rail} 0 .011" size=".004 .60 .0115" rgba=".55 .58 .62 1"/>
    <geom class="picture" type="box" pos="{x + rail} 0 .011" size=".004 .60 .0115" rgba=".55 .58 .62 1"/>
    <geom class="picture" type="box" pos="{x} -.45 .04" size="{hood} .175 .04" rgba=".24 .36 .52 1"/>
    <geom class="picture" type="box" pos="{x} .45 .04" size="{hood} .175 .04" rgba=".24 .36 .52 1"/>"""


def _cube(index: int) -> str:
    color = _CUBE_COLORS[index % len(_CUBE_COLORS)]
    x, y, z = PARKING
    return f"""
    <body name="cube_{index}" pos="{x} {y + 0.1 * index:.1f} {z}"><freejoint name="cube_{index}"/>
      <geom name="cube_{index}" class="cube" rgba="{color} 1"/></body>"""
