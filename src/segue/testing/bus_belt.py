"""The simulated arm and its belt, driven through the real driver and an emulated bus.

    control loop -> SO101 -> bytes -> ServoLine -> servos -> simulated arm

It is the robot `SimSO101` with everything in between that a real arm has: 4096
counts a turn, a read and a write that take their time on the wire, questions
and answers with checksums, servos that protect themselves. All of it runs under
the simulation's clock. What the policy is told of the cubes comes from the
world itself, since servos do not see.
"""

from __future__ import annotations

from dataclasses import replace

from segue.core.specs import RobotSpec
from segue.core.types import FloatArray
from segue.errors import RobotFault
from segue.robots import so101_model
from segue.robots.base import RobotState
from segue.robots.belt import ENVIRONMENT_NAMES, BeltWorld
from segue.robots.mujoco import SimSO101Config
from segue.robots.so101 import SO101, RestConfig, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.testing.clock import VirtualClock
from segue.testing.direct_port import DirectPort
from segue.testing.servo_arm import default_calibration
from segue.testing.servo_line import ServoLine
from segue.testing.servo_mirror import servos_of

_NAME = "an emulated bus"


class BusBelt:
    """A `Robot` for simulated runs; owned by one thread."""

    def __init__(self, config: SimSO101Config | None = None) -> None:
        """Builds no world yet."""
        self.config = config or SimSO101Config(cameras=())
        self._clock = VirtualClock()
        rest = dict(zip(so101_model.NAMES, map(float, so101_model.REST_POSE), strict=True))
        arm = SO101Config(_NAME, ArmUnits(default_calibration()), rest=RestConfig(park_pose=rest))
        self._driver = SO101(arm, self._clock, lambda path: DirectPort(self.line, self._clock))
        spec = self._driver.spec
        observation = replace(spec.observation, environment=ENVIRONMENT_NAMES, cameras=self.config.cameras)
        self.spec: RobotSpec = replace(spec, observation=observation)
        self.rest_pose: FloatArray = so101_model.REST_POSE
        self.line = ServoLine(())
        self._world: BeltWorld | None = None
        self._ahead_ns: int | None = None

    def __repr__(self) -> str:
        return f"<BusBelt {self._driver!r} {self._world!r}>"

    def connect(self) -> None:
        """Starts a new world from the seed and switches the arm's torque on.

        Raises:
            RobotFault: the emulated servos do not do what the driver asks of them.
        """
        self._world = BeltWorld(self.config.belt, self.config.seed)
        self.line = ServoLine(servos_of(self._world, default_calibration()), kept_writes=0)
        self._driver.connect()
        self._ahead_ns = None

    def read(self, now_ns: int) -> RobotState:
        """Returns joints as the servos tell them, and the cubes.

        Raises:
            RobotFault: not connected, or a servo does not answer.
            SafetyLatch: a servo says that it is in danger.
        """
        self._catch_up(now_ns)
        seen = self._driver.read(self._clock.now_ns())
        return RobotState(seen.state, self._connected().environment())

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Sends a target, shape (6,), to the servos.

        Raises:
            LocalProtocolError: `action` is not of shape (6,) or not finite.
            RobotFault: not connected, or there was a fault before.
        """
        self._catch_up(now_ns)
        return self._driver.write(action, self._clock.now_ns())

    def disconnect(self) -> None:
        """Lets the arm go as the driver does, and drops the world."""
        self._driver.disconnect()
        self._world = None

    def summary(self) -> dict[str, int]:
        """Returns how many cubes were offered, lifted and missed, and what the bus counted.

        Raises:
            RobotFault: not connected.
        """
        score = self._connected().cubes.score
        cubes = {"cubes_offered": score.offered, "successes": score.lifted, "misses": score.missed}
        return cubes | self._driver.summary()

    @property
    def exhausted(self) -> bool:
        """Whether the last cube of `BeltConfig.max_cubes` has come and gone."""
        return self._connected().cubes.exhausted

    def _catch_up(self, now_ns: int) -> None:
        """Brings the bus to `now_ns`; its clock is ahead by what connecting took."""
        if self._ahead_ns is None:
            self._ahead_ns = self._clock.now_ns() - now_ns
        self._clock.sleep_until(now_ns + self._ahead_ns)

    def _connected(self) -> BeltWorld:
        if self._world is None:
            raise RobotFault("the simulated arm is not connected")
        return self._world
