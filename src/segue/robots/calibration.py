"""What makes one arm differ from the next: where its zero lies, how far each joint goes.

The numbers live in three places: in LeRobot's JSON file, which this file reads and
writes letter for letter, in the servos' own registers, and in the units that a
policy was trained in. `Scale` converts as LeRobot does, whose checkpoints were
trained with it: truncation instead of rounding and a turn of 4095 counts
included. A file is a stranger's until it is checked; one that could send a joint
the wrong way is refused with a sentence. Nothing here opens a port.
Source: LeRobot's `MotorCalibration` and `SerialMotorsBus._normalize`, `_unnormalize`.
"""

from __future__ import annotations

import json
import os
import reprlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from segue.errors import ConfigError
from segue.robots.packets import MAX_ID
from segue.robots.sts3215 import COUNTS_PER_TURN, HOMING_OFFSET

Unit = Literal["deg", "normalized", "percent"]

# The joints of an SO-100 or SO-101 in LeRobot's order, with the ids that its assembly gives the servos.
JOINT_IDS: Mapping[str, int] = MappingProxyType(
    {"shoulder_pan": 1, "shoulder_lift": 2, "elbow_flex": 3, "wrist_flex": 4, "wrist_roll": 5, "gripper": 6}
)
GRIPPER = "gripper"
MAX_COUNT = COUNTS_PER_TURN - 1
MAX_OFFSET: int = 2 ** (HOMING_OFFSET.sign_bit or 0) - 1
# The present name comes first; the other two are what files were called before January 2026.
FOLDERS = ("so_follower", "so101_follower", "so100_follower")
# 18 degrees: less is a joint that somebody forgot, or touched in passing, when its range was found.
LEAST_RANGE = 200
_MAX_FILE_BYTES = 64 * 1024
# A file name has at most 255, and a draft and a kept copy have longer ones than the file.
_MAX_ID_BYTES = 200


@dataclass(frozen=True, slots=True)
class MotorCalibration:
    """One joint, in the words of LeRobot's file.

    Attributes:
        id: of its servo on the bus.
        drive_mode: 1 when the joint's direction is turned around, which degrees do not heed.
        homing_offset: what the servo subtracts from what it measures, counts.
        range_min, range_max: ends of its way, counts after that subtraction.
    """

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int


Calibration = Mapping[str, MotorCalibration]

_FIELDS = tuple(field.name for field in fields(MotorCalibration))
_ALLOWED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "id": (0, MAX_ID),
        "drive_mode": (0, 1),
        "homing_offset": (-MAX_OFFSET, MAX_OFFSET),
        "range_min": (0, MAX_COUNT),
        "range_max": (0, MAX_COUNT),
    }
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts one joint's counts to the policy's units and back, as LeRobot does.

    Attributes:
        unit: ``deg`` around the middle of the range, ``normalized`` (-100..100) or ``percent`` (0..100)
            from one end to the other.
        calibration: of the joint.
    """

    unit: Unit
    calibration: MotorCalibration

    @property
    def low(self) -> float:
        """The lower limit, units."""
        return self.to_units(self.calibration.range_min) if self.unit == "deg" else self._ends[0]

    @property
    def high(self) -> float:
        """The upper limit, units."""
        return self.to_units(self.calibration.range_max) if self.unit == "deg" else self._ends[1]

    @property
    def _ends(self) -> tuple[float, float]:
        return (-100.0, 100.0) if self.unit == "normalized" else (0.0, 100.0)

    def to_units(self, counts: float) -> float:
        """Returns `counts` in units; only degrees may lie beyond the limits."""
        least, most = self.calibration.range_min, self.calibration.range_max
        if self.unit == "deg":
            return (counts - (least + most) / 2) * 360 / MAX_COUNT
        share = (min(most, max(least, counts)) - least) / (most - least)
        units = share * 200 - 100 if self.unit == "normalized" else share * 100
        return self._turned(units)

    def to_counts(self, units: float) -> int:
        """Returns `units` in counts, cut towards zero; only degrees may lie beyond the limits."""
        least, most = self.calibration.range_min, self.calibration.range_max
        if self.unit == "deg":
            return int(units * MAX_COUNT / 360 + (least + most) / 2)
        low, high = self._ends
        bounded = min(high, max(low, self._turned(units)))
        share = (bounded + 100) / 200 if self.unit == "normalized" else bounded / 100
        return int(share * (most - least) + least)

    def _turned(self, units: float) -> float:
        if not self.calibration.drive_mode:
            return units
        return -units if self.unit == "normalized" else 100 - units


def load_calibration(path: Path) -> Calibration:
    """Returns the calibration in one of LeRobot's files, joints in their order on the arm.

    Raises:
        ConfigError: it is not one, or holds what no arm can have; the file, the joint and the value
            are named.
    """
    return checked_calibration(f"{path}", _read_json(path))


def checked_calibration(where: str, joints: object) -> Calibration:
    """Returns a calibration from what LeRobot's JSON holds, joints in their order on the arm.

    Args:
        where: it comes from, for messages.
        joints: fields of a `MotorCalibration` by joint, of whatever type they are.

    Raises:
        ConfigError: it is not one, or holds what no arm can have; the joint and the value are named.
    """
    _check_keys(where, joints, tuple(JOINT_IDS))
    assert isinstance(joints, Mapping)
    return MappingProxyType(
        {name: _joint(f"{where}: {name}", joints[name], JOINT_IDS[name]) for name in JOINT_IDS}
    )


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Writes `calibration` as LeRobot would, whole or not at all; folders are made.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = json.dumps({name: asdict(each) for name, each in calibration.items()}, indent=4)
    # Behind a link the file itself is replaced, and not the link.
    path = Path(os.path.realpath(path))
    draft = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            draft = file.name
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except OSError as error:
        if draft and os.path.exists(draft):
            os.unlink(draft)
        raise ConfigError(f"{path}: the calibration cannot be written: {error.strerror}") from error


def calibration_places(
    robot_type: str, robot_id: str, folder: Path | None, environ: Mapping[str, str]
) -> tuple[Path, ...]:
    """Returns where a robot's file may be, the place where a new one belongs first.

    Args:
        robot_type: such as ``so101_follower``; of two older files its own comes first.
        robot_id: names the file.
        folder: the only place, if given.
        environ: LeRobot's and Hugging Face's variables move the default.

    Raises:
        ConfigError: the id cannot be the name of a file.
    """
    if not robot_id or "/" in robot_id or "\0" in robot_id or robot_id.startswith("."):
        raise ConfigError(
            f"robot.id: {reprlib.repr(robot_id)} cannot name a calibration file; "
            "expected a name without / and without a dot in front"
        )
    if len(os.fsencode(robot_id)) > _MAX_ID_BYTES:
        raise ConfigError(
            f"robot.id: {reprlib.repr(robot_id)} is too long to name a calibration file; "
            f"expected at most {_MAX_ID_BYTES} bytes"
        )
    name = f"{robot_id}.json"
    if folder is not None:
        return (folder.expanduser() / name,)
    robots = calibration_root(environ) / "robots"
    own = sorted(FOLDERS[1:], key=lambda each: each != robot_type)
    return tuple(robots / each / name for each in (FOLDERS[0], *own))


def find_calibration(robot_type: str, robot_id: str, folder: Path | None, environ: Mapping[str, str]) -> Path:
    """Returns the first of a robot's `calibration_places` where there is a file.

    Raises:
        ConfigError: there is none, and the sentence lists the places; or one cannot be looked at.
    """
    places = calibration_places(robot_type, robot_id, folder, environ)
    for path in places:
        if _is_there(path):
            return path
    where = "" if folder is None else f" --robot.calibration_dir={folder}"
    raise ConfigError(
        f"no calibration file for robot.id={robot_id}; looked for {', '.join(map(str, places))}; "
        f"`segue calibrate --robot.type={robot_type} --robot.id={robot_id} --robot.port=…{where}` makes one"
    )


def differing_copy(used: Path, places: tuple[Path, ...]) -> str | None:
    """Returns a sentence when another of `places` holds other numbers than the file that is used.

    Raises:
        ConfigError: the file that is used is wrong.
    """
    mine = load_calibration(used)
    for path in places:
        try:
            if path == used or not _is_there(path):
                continue
            is_same = load_calibration(path) == mine
        except ConfigError as error:
            return f"{used} is used; another one is broken: {error}"
        if not is_same:
            return f"two calibrations differ: {used} is used, {path} is not"
    return None


def calibration_root(environ: Mapping[str, str]) -> Path:
    """Returns LeRobot's folder of calibrations, which holds ``robots`` and ``teleoperators``."""
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    huggingface = Path(environ.get("HF_HOME") or cache / "huggingface")
    lerobot = Path(environ.get("HF_LEROBOT_HOME") or huggingface / "lerobot")
    return Path(environ.get("HF_LEROBOT_CALIBRATION") or lerobot / "calibration").expanduser()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be looked at: {error.strerror}") from error


def _read_json(path: Path) -> Any:
    try:
        # A pipe or a device could be read for ever.
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such calibration file")
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the calibration cannot be read: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: a calibration has at most {_MAX_FILE_BYTES // 1024} KiB")
    try:
        return json.loads(data, object_pairs_hook=_without_doubles)
    # Deep nesting and numbers of thousands of digits end in the last two.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a calibration in JSON: {error}") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _check_keys(where: str, raw: object, expected: tuple[str, ...]) -> None:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: {reprlib.repr(raw)}; expected a map of {', '.join(expected)}")
    missing = [key for key in expected if key not in raw]
    unknown = [key for key in raw if key not in expected]
    if missing or unknown:
        problem = f"{missing[0]} is missing" if missing else f"{reprlib.repr(unknown[0])} is unknown"
        raise ConfigError(f"{where}: {problem}; expected are {', '.join(expected)}")


def _joint(where: str, raw: Any, servo: int) -> MotorCalibration:
    _check_keys(where, raw, _FIELDS)
    for key, (least, most) in _ALLOWED.items():
        value = raw[key]
        # True is an int to Python, and 1.0 is none.
        if type(value) is not int or not least <= value <= most:
            expected = f"expected a whole number from {least} to {most}"
            raise ConfigError(f"{where}: {key}={reprlib.repr(value)}; {expected}")
    joint = MotorCalibration(**raw)
    # Another joint's id would drive another joint, and `segue release` would not find it.
    if joint.id != servo:
        raise ConfigError(
            f"{where}: id={joint.id}; expected {servo}, which this joint's servo has on each arm"
        )
    if joint.range_min >= joint.range_max:
        raise ConfigError(
            f"{where}: range_min={joint.range_min} and range_max={joint.range_max}; expected the first "
            "below the second: are the limits swapped?"
        )
    if joint.range_max - joint.range_min < LEAST_RANGE:
        raise ConfigError(
            f"{where}: range_min={joint.range_min} and range_max={joint.range_max}; expected at least "
            f"{LEAST_RANGE} counts between them, since every joint turns further: run `segue calibrate` and "
            "move it from stop to stop"
        )
    return joint
