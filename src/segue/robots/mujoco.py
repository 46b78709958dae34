"""The simulated SO-101: a `Robot` like any other, whose world runs in physics steps.

`read` and `write` first run the physics up to their `now_ns`, counted in whole
steps from the first call after `connect`. The same sequence of times and
actions therefore gives the same world, whether the times come from a virtual
clock or from the host's. A gap of more than a quarter of a second (the process
was suspended) is not made up, or the tick after it would take as long as it:
the world stands still for the rest of the gap.

Each `read` may publish the scene for cameras in another process. This file
decides nothing about cubes and draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from segue.clock import NS_PER_MS
from segue.core.specs import ActionSpec, CameraSpec, ObservationSpec, RobotSpec
from segue.core.types import FloatArray
from segue.errors import LocalProtocolError, RobotFault
from segue.robots import so101_model
from segue.robots.base import RobotState
from segue.robots.belt import ENVIRONMENT_NAMES, BeltWorld
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_model import CAMERA_NAMES, TIMESTEP_S
from segue.robots.scene import SceneWriter

_STEP_NS = round(TIMESTEP_S * 1e9)
MAX_CATCH_UP_NS = 250 * NS_PER_MS

CAMERAS = tuple(CameraSpec(name, height=480, width=640, fps=30.0) for name in CAMERA_NAMES)


@dataclass(frozen=True, slots=True)
class SimSO101Config:
    """A simulated arm and its belt.

    Attributes:
        seed: fixes when and how cubes come.
        belt: what the belt brings.
        cameras: of ``top``, ``front``, ``wrist``.
    """

    seed: int = 0
    belt: BeltConfig = field(default_factory=BeltConfig)
    cameras: tuple[CameraSpec, ...] = CAMERAS


class SimSO101:
    """An SO-101 beside a belt, in MuJoCo; owned by one thread."""

    def __init__(self, config: SimSO101Config | None = None, scene: SceneWriter | None = None) -> None:
        """Builds no world yet; `scene` stays the caller's to close."""
        self.config = config or SimSO101Config()
        joints = so101_model.dimensions()
        action = ActionSpec(joints)
        observation = ObservationSpec(joints, ENVIRONMENT_NAMES, self.config.cameras)
        self.spec = RobotSpec("sim_so101", observation, action)
        self.rest_pose: FloatArray = so101_model.REST_POSE
        self._low, self._high = action.array("low"), action.array("high")
        self._scene = scene
        self._world: BeltWorld | None = None
        self._origin_ns: int | None = None

    def __repr__(self) -> str:
        return f"<SimSO101 seed={self.config.seed} {self._world!r}>"

    def connect(self) -> None:
        """Starts a new world from the seed, with the arm at its rest pose."""
        self._world = BeltWorld(self.config.belt, self.config.seed)
        self._origin_ns = None

    def read(self, now_ns: int) -> RobotState:
        """Returns joints and tracked cube at `now_ns`, and publishes the scene.

        Raises:
            RobotFault: not connected.
        """
        world = self._advance(now_ns)
        if self._scene is not None:
            self._scene.publish(now_ns, world.picture())
        return RobotState(world.joints(), world.environment())

    def write(self, action: FloatArray, now_ns: int) -> FloatArray:
        """Sets the servos' targets at `now_ns` and returns them within the joints' range.

        Raises:
            LocalProtocolError: `action` is not of shape (6,) or not finite.
            RobotFault: not connected.
        """
        if action.shape != self._low.shape or not np.isfinite(action).all():
            raise LocalProtocolError(f"an action has {len(self._low)} finite numbers, got {action!r}")
        world = self._advance(now_ns)
        applied: FloatArray = np.clip(action, self._low, self._high)
        world.command(applied)
        return applied

    def disconnect(self) -> None:
        """Drops the world; its score with it."""
        self._world = None

    def summary(self) -> dict[str, int]:
        """Returns how many cubes were offered, lifted and missed so far.

        Raises:
            RobotFault: not connected.
        """
        score = self._connected().cubes.score
        return {"cubes_offered": score.offered, "successes": score.lifted, "misses": score.missed}

    @property
    def exhausted(self) -> bool:
        """Whether the last cube of `BeltConfig.max_cubes` has come and gone."""
        return self._connected().cubes.exhausted

    def _advance(self, now_ns: int) -> BeltWorld:
        world = self._connected()
        if self._origin_ns is None:
            self._origin_ns = now_ns
        behind = (now_ns - self._origin_ns) // _STEP_NS - world.steps
        surplus = behind - MAX_CATCH_UP_NS // _STEP_NS
        if surplus > 0:
            self._origin_ns += surplus * _STEP_NS
        world.advance(max(0, min(behind, behind - surplus)))
        return world

    def _connected(self) -> BeltWorld:
        if self._world is None:
            raise RobotFault("the simulated arm is not connected")
        return self._world
