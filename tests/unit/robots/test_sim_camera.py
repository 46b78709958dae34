from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from segue.cameras.latest import LatestFrame
from segue.core.specs import CameraSpec
from segue.errors import RobotFault
from segue.robots.belt_cubes import BeltConfig
from segue.robots.engine import RENDERING, mujoco
from segue.robots.mujoco import CAMERAS, SimSO101, SimSO101Config
from segue.robots.scene import SceneWriter, scene_name
from segue.robots.sim_camera import SimCamera, sim_cameras
from segue.testing.conformance import check_camera

TICK_NS = 10_000_000
BELT = BeltConfig(first_cube_s=0.0)


def _why_not_drawing() -> str:
    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception as error:
        return f"NO PICTURES CAN BE DRAWN HERE (MUJOCO_GL={RENDERING}): {error!r}"
    return ""


WHY_NOT = _why_not_drawing()
draws = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


class QuickClock:
    """A clock on which waiting costs nothing."""

    def __init__(self) -> None:
        self.time_ns = 0

    def now_ns(self) -> int:
        return self.time_ns

    def sleep_until(self, deadline_ns: int) -> None:
        self.time_ns = max(self.time_ns, deadline_ns)


@pytest.fixture
def scene() -> Iterator[SceneWriter]:
    page = SceneWriter(scene_name())
    yield page
    page.close()


@pytest.fixture
def robot(scene: SceneWriter) -> SimSO101:
    """An arm at work beside a belt whose first cube is in sight."""
    arm = SimSO101(SimSO101Config(0, BELT), scene)
    arm.connect()
    for tick in range(200):
        arm.read(tick * TICK_NS)
    return arm


def opened(name: str, scene: SceneWriter, width: int = 160, height: int = 120) -> SimCamera:
    camera = SimCamera(CameraSpec(name, height, width, 30.0), scene.name, BELT, QuickClock())
    camera.open()
    return camera


@draws
@pytest.mark.parametrize("spec", CAMERAS, ids=lambda spec: spec.name)
def test_each_camera_sees_belt_arm_and_cube(spec: CameraSpec, scene: SceneWriter, robot: SimSO101) -> None:
    """A full-size picture has dark belt and orange arm in it, and from above and in front a bright cube."""
    (camera,) = sim_cameras((spec,), scene.name, BELT)
    camera.open()
    image = camera.grab().image
    camera.close()
    assert image.shape == (480, 640, 3)
    assert image.dtype == np.uint8
    red, green, blue = (image[..., i].astype(int) for i in range(3))
    assert (image.max(axis=2) < 70).sum() > 3000
    assert ((red > 140) & (green > 60) & (green < red) & (blue < 80)).sum() > 3000
    if spec.name != "wrist":
        assert ((red > 120) & (green < 60) & (blue < 60)).sum() > 100


@draws
def test_a_frame_is_numbered_and_stamped_by_the_scene(scene: SceneWriter, robot: SimSO101) -> None:
    """Number and stamp are those of the tick that is shown, and move on with it."""
    camera = opened("top", scene)
    frame = camera.grab()
    assert (frame.number, frame.captured_ns) == (200, 199 * TICK_NS)
    robot.read(230 * TICK_NS)
    later = camera.grab()
    assert (later.number, later.captured_ns) == (201, 230 * TICK_NS)
    assert (later.image != frame.image).any()
    camera.close()


@draws
def test_a_frozen_scene_is_told_from_a_still_one(scene: SceneWriter, robot: SimSO101) -> None:
    """While the robot stands still in time the same frame comes again, with its old number and stamp."""
    camera = opened("front", scene)
    first = camera.grab()
    assert camera.grab() is first
    camera.close()


@draws
def test_pictures_come_at_the_cameras_rate(scene: SceneWriter, robot: SimSO101) -> None:
    """Thirty-one grabs on a clock of their own take one second."""
    clock = QuickClock()
    camera = SimCamera(CameraSpec("top", 120, 160, 30.0), scene.name, BELT, clock)
    camera.open()
    for _ in range(31):
        camera.grab()
    assert clock.now_ns() == pytest.approx(1e9, rel=1e-6)
    camera.close()


@draws
def test_three_threads_draw_side_by_side(scene: SceneWriter, robot: SimSO101) -> None:
    """Each camera in a thread of its own sees another picture, from opening to closing."""
    images: dict[str, np.ndarray] = {}

    def look(name: str) -> None:
        camera = opened(name, scene)
        for _ in range(3):
            images[name] = camera.grab().image
        camera.close()

    threads = [threading.Thread(target=look, args=(spec.name,)) for spec in CAMERAS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(images) == 3
    assert (images["top"] != images["front"]).mean() > 0.2
    assert (images["front"] != images["wrist"]).mean() > 0.2


@draws
def test_closing_from_another_thread_harms_nobody(scene: SceneWriter, robot: SimSO101) -> None:
    """A camera closed elsewhere than where it drew is closed, and another one still draws."""
    camera = opened("top", scene)
    thread = threading.Thread(target=camera.grab)
    thread.start()
    thread.join(60)
    camera.close()
    camera.close()
    with pytest.raises(RobotFault, match="not open"):
        camera.grab()
    other = opened("top", scene)
    assert other.grab().image.any()
    other.close()


@draws
def test_a_camera_of_another_belt_is_refused(scene: SceneWriter, robot: SimSO101) -> None:
    """A camera with another number of cubes than the robot's says so."""
    other = BeltConfig(first_cube_s=0.0, interval_s=0.7)
    camera = SimCamera(CameraSpec("top", 120, 160, 30.0), scene.name, other, QuickClock())
    camera.open()
    with pytest.raises(RobotFault, match="numbers"):
        camera.grab()
    camera.close()


def test_without_a_robot_a_camera_gives_up() -> None:
    """No scene at all is a fault, and so is an empty one, so soon that nobody who stops it waits."""
    clock = QuickClock()
    absent = SimCamera(CAMERAS[0], "segue_none_such", BELT, clock)
    with pytest.raises(RobotFault, match="no scene"):
        absent.open()
    assert clock.now_ns() <= 0.2e9
    page = SceneWriter(scene_name())
    try:
        empty = opened("top", page)
        with pytest.raises(RobotFault, match="is empty"):
            empty.grab()
        empty.close()
    finally:
        page.close()


def test_an_unknown_camera_is_refused() -> None:
    """A name that the scene does not have is refused with those that it has."""
    with pytest.raises(RobotFault, match="top, front, wrist"):
        SimCamera(CameraSpec("side", 480, 640), "any", BELT)


def test_stopping_before_the_robot_runs_takes_no_time() -> None:
    """The thread that waits for an empty scene ends within half a second of being told to."""
    page = SceneWriter(scene_name())
    watched = LatestFrame(SimCamera(CAMERAS[0], page.name, BELT))
    try:
        watched.start()
        assert not watched.wait_first(0.3)
        begun = time.monotonic()
        watched.stop(timeout_s=10.0)
        assert time.monotonic() - begun < 0.5
    finally:
        page.close()


@draws
def test_a_camera_of_the_simulation_conforms(scene: SceneWriter, robot: SimSO101) -> None:
    """While the arm ticks, its camera keeps the promises of the `Camera` protocol."""
    stopping = threading.Event()

    def tick() -> None:
        now_ns = 200 * TICK_NS
        while not stopping.wait(0.01):
            now_ns += TICK_NS
            robot.read(now_ns)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        check_camera(SimCamera(CameraSpec("top", 48, 64, 20.0), scene.name, BELT))
        assert thread.is_alive()
    finally:
        stopping.set()
        thread.join(20.0)
