from __future__ import annotations

import multiprocessing
import struct

import numpy as np
import pytest

from segue.errors import LocalProtocolError, RobotFault
from segue.robots.scene import SceneReader, SceneWriter, forget_scene, scene_name

ROW = 64


@pytest.fixture
def writer():
    scene = SceneWriter(scene_name())
    yield scene
    scene.close()


@pytest.fixture
def reader(writer: SceneWriter):
    scene = SceneReader(writer.name)
    yield scene
    scene.close()


def test_a_reader_sees_what_was_written(writer: SceneWriter, reader: SceneReader) -> None:
    """Number, stamp and row arrive as they were published, and the newest replaces the older."""
    assert reader.latest() is None
    for number, row in ((1, np.arange(5.0)), (2, np.arange(9.0) / 7)):
        writer.publish(1000 * number, row)
        scene = reader.latest()
        assert scene is not None
        assert (scene.number, scene.tick_ns) == (number, 1000 * number)
        np.testing.assert_array_equal(scene.numbers, row)


def test_a_snapshot_is_the_readers_own(writer: SceneWriter, reader: SceneReader) -> None:
    """What was read does not change when the writer goes on."""
    writer.publish(1, np.zeros(4))
    scene = reader.latest()
    writer.publish(2, np.ones(4))
    assert scene is not None
    np.testing.assert_array_equal(scene.numbers, np.zeros(4))


@pytest.mark.parametrize("offset", [0, 8, 16, 40, 47])
def test_a_torn_write_is_not_shown(writer: SceneWriter, reader: SceneReader, offset: int) -> None:
    """With one byte of the page not yet written a reader keeps what it saw before."""
    writer.publish(1, np.full(4, 3.5))
    before = reader.latest()
    writer.publish(2, np.full(4, 4.5))
    page = writer._page
    page[offset] ^= 1
    assert reader.latest() is before
    page[offset] ^= 1
    after = reader.latest()
    assert after is not None
    assert after.number == 2


def test_a_writer_that_died_while_writing_leaves_a_frozen_scene(
    writer: SceneWriter, reader: SceneReader
) -> None:
    """An odd count that stays never blocks a reader, which goes on showing the last whole scene."""
    writer.publish(1, np.zeros(4))
    whole = reader.latest()
    page = writer._page
    struct.pack_into("@q", page, 0, 3)
    assert reader.latest() is whole


def test_a_row_too_long_is_refused(writer: SceneWriter) -> None:
    """A scene of more numbers than the page holds is an error of the caller, and nothing is written."""
    with pytest.raises(LocalProtocolError, match="no room"):
        writer.publish(1, np.zeros(5000))


def test_names_are_taken_once(writer: SceneWriter) -> None:
    """A second writer of one name is refused, and fresh names differ."""
    with pytest.raises(LocalProtocolError, match="exists"):
        SceneWriter(writer.name)
    assert scene_name() != scene_name()


def test_a_closed_scene_is_gone() -> None:
    """After `close`, which may come twice, nobody finds the page and nobody writes to it."""
    scene = SceneWriter(scene_name())
    scene.close()
    scene.close()
    with pytest.raises(RobotFault, match="no scene"):
        SceneReader(scene.name)
    with pytest.raises(LocalProtocolError, match="closed"):
        scene.publish(1, np.zeros(3))


def _watch(name: str, ready, results) -> None:
    """Reads until the last scene; reports how many snapshots it saw and whether all were whole."""
    reader = SceneReader(name)
    ready.set()
    seen, whole, last = set(), True, 0
    while last < 20_000:
        scene = reader.latest()
        if scene is not None:
            whole &= len(set(scene.numbers)) == 1 and scene.numbers[0] == scene.number
            whole &= scene.tick_ns == 7 * scene.number and scene.number >= last
            last = scene.number
            seen.add(last)
    reader.close()
    results.put((len(seen), bool(whole)))


@pytest.mark.e2e
def test_a_spawned_process_sees_only_whole_scenes(writer: SceneWriter) -> None:
    """A process found by name alone reads twenty thousand quick writes: none torn, none backwards."""
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Event(), spawn.Queue()
    watcher = spawn.Process(target=_watch, args=(writer.name, ready, results))
    watcher.start()
    try:
        assert ready.wait(30)
        for number in range(1, 20_001):
            writer.publish(7 * number, np.full(ROW, float(number)))
        snapshots, whole = results.get(timeout=30)
    finally:
        watcher.join(10)
        if watcher.is_alive():
            watcher.kill()
            watcher.join()
    assert whole
    assert snapshots > 1
    assert watcher.exitcode == 0


def test_a_page_whose_writer_was_killed_can_be_taken_away() -> None:
    """Forgetting a scene removes its page, and forgetting it twice is no error."""
    name = scene_name()
    SceneWriter(name).publish(1, np.zeros(4))
    forget_scene(name)
    with pytest.raises(RobotFault, match="no scene"):
        SceneReader(name)
    forget_scene(name)
