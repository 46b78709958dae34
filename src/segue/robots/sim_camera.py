"""The simulated robot's cameras: they draw what its scene says, wherever they run.

A camera looks at the shared scene at its own rate and draws it with a model of
its own, so it may live in a thread or process apart from the robot. A frame
carries the stamp of the tick that it shows and the scene's own number: when the
robot stops, so do stamp and number, and nobody takes a still picture for a
fresh one. A scene drawn once is not drawn again.

What belongs to the graphics driver belongs to the thread that calls `grab`; it
is made in the first `grab`, and given back by `close` in the same thread.
"""

from __future__ import annotations

import threading
from typing import Any

from segue.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from segue.core.specs import CameraSpec
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault
from segue.robots.belt import show_picture
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_model import CAMERA_NAMES, scene_mjcf
from segue.robots.engine import RENDERING, mujoco
from segue.robots.scene import Scene, SceneReader

# For the robot's process to make the scene, and then to fill it. Short, because nobody can break
# it off: `LatestFrame` opens a camera again and again, and is stopped in between.
_PATIENCE_NS = NS_PER_S // 10
_POLL_NS = 10 * NS_PER_MS
# Two threads that set up the driver at the same time disturb each other.
_DRIVER = threading.Lock()


class SimCamera:
    """One of the cameras ``top``, ``front``, ``wrist``; used by one thread."""

    def __init__(self, spec: CameraSpec, scene: str, belt: BeltConfig, clock: Clock | None = None) -> None:
        """Takes the scene's name and the belt's configuration, both as the robot has them.

        Raises:
            RobotFault: there is no camera of this name.
        """
        if spec.name not in CAMERA_NAMES:
            raise RobotFault(f"the simulated robot has cameras {', '.join(CAMERA_NAMES)}, not {spec.name}")
        self.spec = spec
        self._scene_name = scene
        self._belt = belt
        self._clock = clock or SystemClock()
        self._reader: SceneReader | None = None
        self._easel: _Easel | None = None
        self._last: Frame | None = None
        self._due_ns = 0

    def __repr__(self) -> str:
        return f"<SimCamera {self.spec} number={self._last.number if self._last else 0}>"

    def open(self) -> None:
        """Finds the scene; waits a tenth of a second for a robot that is being started.

        Raises:
            RobotFault: there is no scene.
        """
        give_up_ns = self._clock.now_ns() + _PATIENCE_NS
        while self._reader is None:
            try:
                self._reader = SceneReader(self._scene_name)
            except RobotFault:
                if self._clock.now_ns() >= give_up_ns:
                    raise
                self._clock.sleep_until(self._clock.now_ns() + _POLL_NS)
        self._due_ns = self._clock.now_ns()

    def grab(self) -> Frame:
        """Waits until the next picture is due and returns it; the last one again if nothing has moved on.

        Raises:
            RobotFault: not open, nothing published yet, or the host cannot draw.
        """
        reader = self._reader
        if reader is None:
            raise RobotFault(f"camera {self.spec.name} is not open")
        self._clock.sleep_until(self._due_ns)
        # After a pause the rate goes on from now; frames that were missed are not made up.
        self._due_ns = max(self._due_ns + round(NS_PER_S / self.spec.fps), self._clock.now_ns())
        scene = self._first_scene(reader) if self._last is None else reader.latest()
        if scene is not None and (self._last is None or scene.number != self._last.number):
            self._last = Frame(self._draw(scene), scene.tick_ns, scene.number)
        assert self._last is not None
        return self._last

    def close(self) -> None:
        """Gives everything back; may be called more than once."""
        if self._easel is not None:
            self._easel.close()
            self._easel = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._last = None

    def _first_scene(self, reader: SceneReader) -> Scene:
        give_up_ns = self._clock.now_ns() + _PATIENCE_NS
        while (scene := reader.latest()) is None:
            if self._clock.now_ns() >= give_up_ns:
                raise RobotFault(f"scene {self._scene_name} is empty: is the robot running?")
            self._clock.sleep_until(self._clock.now_ns() + _POLL_NS)
        return scene

    def _draw(self, scene: Scene) -> ImageArray:
        if self._easel is None:
            self._easel = _Easel(self.spec, self._belt)
        return self._easel.draw(scene)


class _Easel:
    """A model, a state and a graphics context: what one thread needs to draw."""

    def __init__(self, spec: CameraSpec, belt: BeltConfig) -> None:
        self._camera = spec.name
        model = mujoco.MjModel.from_xml_string(scene_mjcf(belt.pool(), spec.width, spec.height))
        self._model: Any = model
        self._data: Any = mujoco.MjData(model)
        self._thread = threading.get_ident()
        try:
            with _DRIVER:
                self._renderer: Any = mujoco.Renderer(model, spec.height, spec.width, max_geom=200)
        except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
            raise RobotFault(
                f"cannot draw camera {spec.name} with MUJOCO_GL={RENDERING}: {error}; on Debian and"
                " Ubuntu the packages libegl1 libegl-mesa0 libgl1-mesa-dri are needed"
            ) from error
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[effect] = False

    def draw(self, scene: Scene) -> ImageArray:
        """Returns the picture, (height, width, 3) uint8 RGB, an array of its own."""
        show_picture(self._data, scene.numbers)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, self._camera)
        image: ImageArray = self._renderer.render()
        return image

    def close(self) -> None:
        """Frees the context in its own thread; elsewhere it is left to the end of the process."""
        if threading.get_ident() == self._thread:
            with _DRIVER:
                self._renderer.close()
        else:
            _ABANDONED.append(self)


# A context may be freed by its own thread only; kept here, none is freed by the garbage collector.
_ABANDONED: list[_Easel] = []


def sim_cameras(specs: tuple[CameraSpec, ...], scene: str, belt: BeltConfig) -> tuple[SimCamera, ...]:
    """Returns the cameras of a `SimSO101Config`, for the process that will use them.

    Args:
        specs: `SimSO101Config.cameras`.
        scene: name of the page on which the robot publishes.
        belt: `SimSO101Config.belt`.
    """
    return tuple(SimCamera(spec, scene, belt) for spec in specs)
