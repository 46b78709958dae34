"""Emulated servos that move the simulated arm: what is told to a servo happens in MuJoCo.

A servo's goal becomes the target of the joint's actuator, the share of its
torque becomes the actuator's limit, and what the joint does comes back as
counts, 4096 to a turn. So the arm falls when torque is taken away, and a jaw
that stalls on a cube loads its servo. The six shafts share one world, which is
moved on by whichever servo is asked first.
"""

from __future__ import annotations

from typing import Any

from segue.robots import so101_model
from segue.robots.belt import BeltWorld
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_model import TIMESTEP_S
from segue.robots.calibration import GRIPPER, Calibration, MotorCalibration
from segue.testing.servo import Servo
from segue.testing.servo_arm import COUNTS_PER_RADIAN, default_calibration, so101_servos
from segue.testing.servo_shaft import FREE, FULL_EFFORT, Order

# What an STS3215 gives at most, at the voltage of the model; its gripper is given less there.
FULL_TORQUE_NM = 3.35
_STEP_NS = round(TIMESTEP_S * 1e9)
# A gap longer than that (the process was suspended) is not made up.
_MAX_CATCH_UP_STEPS = 125


class World:
    """A belt's world, moved on by time instead of steps.

    It stands still until a servo first has torque: an arm that nobody holds lies on something.
    """

    def __init__(self, belt: BeltWorld) -> None:
        self.belt = belt
        self._origin_ns: int | None = None
        self._held = False

    def __repr__(self) -> str:
        return f"<World {self.belt!r}>"

    def hold(self) -> None:
        """Lets it begin with the next call of `advance`."""
        self._held = True

    def advance(self, now_ns: int) -> None:
        """Runs physics up to `now_ns`, in whole steps."""
        if not self._held:
            return
        if self._origin_ns is None:
            self._origin_ns = now_ns
        behind = (now_ns - self._origin_ns) // _STEP_NS - self.belt.steps
        surplus = behind - _MAX_CATCH_UP_STEPS
        if surplus > 0:
            self._origin_ns += surplus * _STEP_NS
        self.belt.advance(max(0, min(behind, _MAX_CATCH_UP_STEPS)))


class JointShaft:
    """A shaft on a joint of the simulated arm."""

    def __init__(self, world: World, joint: int, calibration: MotorCalibration) -> None:
        """Sits on joint number `joint` of the arm, mounted as `calibration` says."""
        self._world, self._joint = world, joint
        self.speed = 0.0
        self.effort = 0.0
        model: Any = world.belt.model
        self._limit = float(model.actuator_forcerange[joint, 1])
        self._zero_rad, self._zero_counts, self._counts_per_rad = _geometry(joint, calibration)
        self.obey(FREE)
        self.position = self._measured()

    def __repr__(self) -> str:
        return f"<JointShaft {so101_model.NAMES[self._joint]} at={self.position:.1f}>"

    def obey(self, order: Order) -> None:
        """Sets the actuator's target and how much torque it has."""
        belt, joint = self._world.belt, self._joint
        limit = min(self._limit, FULL_TORQUE_NM * order.share)
        belt.model.actuator_forcerange[joint] = (-limit, limit)
        if order.share:
            self._world.hold()
            belt.data.ctrl[joint] = self._radians(order.goal)

    def turn(self, now_ns: int) -> None:
        """Moves the whole arm to where it is at `now_ns`, and measures this joint."""
        self._world.advance(now_ns)
        data, joint = self._world.belt.data, self._joint
        self.position = self._measured()
        self.speed = float(data.qvel[joint]) * self._counts_per_rad
        self.effort = float(data.actuator_force[joint]) / FULL_TORQUE_NM * FULL_EFFORT

    def push(self, counts: float) -> None:
        """Moves the joint by hand; a motor with torque drives it back."""
        self._world.belt.data.qpos[self._joint] += counts / self._counts_per_rad
        self.position = self._measured()

    def _measured(self) -> float:
        radians = float(self._world.belt.data.qpos[self._joint])
        return self._zero_counts + (radians - self._zero_rad) * self._counts_per_rad

    def _radians(self, counts: float) -> float:
        joint = so101_model.JOINTS[self._joint]
        radians = self._zero_rad + (counts - self._zero_counts) / self._counts_per_rad
        return min(max(radians, joint.low), joint.high)


def belt_servos(
    calibration: Calibration | None = None, seed: int = 0, belt: BeltConfig | None = None
) -> list[Servo]:
    """Returns the servos of an arm beside a belt."""
    return servos_of(BeltWorld(belt or BeltConfig(), seed), calibration)


def servos_of(belt: BeltWorld, calibration: Calibration | None = None) -> list[Servo]:
    """Returns the servos that move the arm of `belt`, torque off."""
    known = default_calibration() if calibration is None else calibration
    world = World(belt)
    shafts = [JointShaft(world, joint, known[name]) for joint, name in enumerate(so101_model.NAMES)]
    return so101_servos(known, "follower", shafts)


def _geometry(joint: int, calibration: MotorCalibration) -> tuple[float, float, float]:
    """Returns a joint's zero in radians and in counts of the encoder, and counts per radian."""
    model = so101_model.JOINTS[joint]
    low, high = calibration.range_min, calibration.range_max
    if model.name == GRIPPER:
        return model.low, low + calibration.homing_offset, (high - low) / (model.high - model.low)
    middle = (low + high) / 2 + calibration.homing_offset
    return (model.low + model.high) / 2, middle, COUNTS_PER_RADIAN
