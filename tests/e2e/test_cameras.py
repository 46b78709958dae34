"""Pictures from files to the policy, through the commands that a user types."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.cli.children import Child
from segue.cli.serve import READY
from tests.unit.cameras.samples import jpegs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NAMES = ("top", "front", "wrist")
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
SECONDS = 4


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Writes pictures for three cameras, a folder, a stream and a folder; returns them as a flag."""
    root = tmp_path_factory.mktemp("cameras")
    entries = []
    for seed, name in enumerate(NAMES):
        pictures = jpegs(6, 480, 640, seed)
        path = root / f"{name}.mjpeg"
        if name == "front":
            path.write_bytes(b"".join(pictures))
        else:
            path = root / name
            path.mkdir()
            for index, picture in enumerate(pictures):
                (path / f"{index}.jpg").write_bytes(picture)
        entries.append(f"{name}: {{type: file, path: {path}}}")
    return f"--robot.cameras={{{', '.join(entries)}}}"


@pytest.fixture
def address(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Serves the scripted policy of that name; yields its address."""
    words = ("serve", "--port=0", f"--policy.path={request.param}", "--inference_latency=0.05")
    server = Child("server", words, tmp_path / "server.log", ENVIRONMENT)
    found = server.wait_for(READY, 120.0)
    assert found, server.said()
    yield found
    assert server.end(signal.SIGTERM, 10.0) == 128 + signal.SIGTERM, server.said()


def observation_bytes(address: str, folder: Path, *words: str) -> list[int]:
    """Runs a fake arm for some seconds; returns the size of each observation that was answered."""
    flags = ["run", "--robot.type=fake", f"--server_address={address}", f"--duration={SECONDS}", *words]
    run = Child("arm", [*flags, f"--output_dir={folder / 'run'}"], folder / "run.log", ENVIRONMENT)
    assert run.wait(60.0) == 0, run.said()
    lines = (folder / "run" / "run.jsonl").read_text().splitlines()
    chunks = [event for event in map(json.loads, lines) if event["event"] == "chunk"]
    assert len(chunks) >= 2, run.said()
    return [chunk["observation_bytes"] for chunk in chunks]


def own_bytes() -> int:
    """Returns what the least of each camera's own pictures take together."""
    return sum(min(map(len, jpegs(6, 480, 640, seed))) for seed in range(len(NAMES)))


@pytest.mark.parametrize("address", ["builtin:scripted@30"], indirect=True)
def test_a_camera_s_own_jpegs_travel_and_are_kept_untouched(
    address: str, cameras: str, tmp_path: Path
) -> None:
    """A policy of any size is sent the files' own bytes, and the recorded camera's are kept as they are."""
    sizes = observation_bytes(address, tmp_path, cameras, "--record_camera=front")
    assert min(sizes) >= own_bytes()
    assert max(sizes) < 1.2 * own_bytes()
    kept = (tmp_path / "run" / "front.mjpeg").read_bytes()
    own = jpegs(6, 480, 640, NAMES.index("front"))
    assert kept.startswith(tuple(own))


@pytest.mark.parametrize("address", ["builtin:scripted@30"], indirect=True)
def test_a_camera_that_damages_its_jpegs_a_little_is_served(address: str, tmp_path: Path) -> None:
    """JPEGs that the server would refuse arrive all the same, and it is said once."""
    whole = jpegs(6, 480, 640)
    damaged = [each[:-2] + bytes(40) + each[-2:] for each in whole]
    (tmp_path / "front.mjpeg").write_bytes(b"".join(damaged))
    flag = f"--robot.cameras={{front: {{type: file, path: {tmp_path / 'front.mjpeg'}}}}}"
    observation_bytes(address, tmp_path, flag)
    lines = list(map(json.loads, (tmp_path / "run" / "run.jsonl").read_text().splitlines()))
    assert not [line for line in lines if "JPEG" in line.get("cause", "")]
    assert [line["camera"] for line in lines if line["event"] == "jpeg_damaged"] == ["front"]
    assert "camera front: its own JPEGs are damaged" in (tmp_path / "run.log").read_text()


SMALL = "builtin:scripted@30:top,front,wrist:224x224:pad_left_top"


@pytest.mark.parametrize("address", [SMALL], indirect=True)
def test_pictures_are_brought_to_the_policy_s_size_before_they_travel(
    address: str, cameras: str, tmp_path: Path
) -> None:
    """For a policy on 224x224 three cameras of 640x480 take at most 45 kB an observation."""
    sizes = observation_bytes(address, tmp_path, cameras)
    sys.stdout.write(f"observations of three 224x224 pictures: {min(sizes)} to {max(sizes)} bytes\n")
    assert max(sizes) <= 45_000


@pytest.mark.parametrize("address", [SMALL], indirect=True)
def test_a_client_that_does_not_resize_is_served_all_the_same(
    address: str, cameras: str, tmp_path: Path
) -> None:
    """Told not to resize, the client sends the cameras' own pictures and the server resizes them."""
    assert min(observation_bytes(address, tmp_path, cameras, "--client_resize=false")) >= own_bytes()


def test_a_file_that_is_not_there_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    """A camera's file that does not exist is one sentence and exit code 78, and leaves no folder."""
    flag = f"--robot.cameras={{front: {{type: file, path: {tmp_path / 'nowhere'}}}}}"
    words = ["run", "--robot.type=fake", flag, f"--output_dir={tmp_path / 'run'}"]
    run = Child("arm", words, tmp_path / "run.log", ENVIRONMENT)
    assert run.wait(60.0) == 78, run.said()
    assert "robot.cameras.front.path" in run.said()
    assert not (tmp_path / "run").exists()
