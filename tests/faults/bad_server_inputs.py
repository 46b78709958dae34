"""What can be wrong with what a robot sends to a server that serves the scripted policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simplejpeg

from segue.wire import policy_pb2 as pb
from segue.wire.image import encode
from tests.any_robot import PICTURE

GREY = simplejpeg.encode_jpeg(PICTURE[..., :1].copy(), colorspace="GRAY")
PICKLE = b"\x80\x04\x95\x0b\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."


Infer = Callable[[pb.InferRequest], None]
Open = Callable[[pb.OpenRequest], None]


def claimed(jpeg: bytes, height: int, width: int) -> bytes:
    """Returns a JPEG whose own header claims another size."""
    at = next(k for k in range(len(jpeg)) if jpeg[k : k + 2] in (b"\xff\xc0", b"\xff\xc2"))
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return jpeg[: at + 5] + size + jpeg[at + 9 :]


def _set(path: str, value: object) -> Callable[[object], None]:
    """Returns what sets a field of a message, such as ``observation.state.data``; lists are replaced."""

    def spoil(message: object) -> None:
        *parts, last = path.split(".")
        for part in parts:
            message = message[int(part)] if part.isdigit() else getattr(message, part)  # type: ignore[index]
        if isinstance(value, list):
            getattr(message, last)[:] = value
        else:
            setattr(message, last, value)

    return spoil


def _numbers(path: str, shape: list[int], fill: float = 0.0, count: int | None = None) -> Infer:
    """Returns what puts a tensor of `shape`, with as many numbers as that or `count`, into a request."""

    def spoil(message: pb.InferRequest) -> None:
        tensor: object = message
        for part in path.split("."):
            tensor = getattr(tensor, part)
        amount = int(np.prod(shape)) if count is None else count
        tensor.CopyFrom(  # type: ignore[attr-defined]
            pb.Tensor(dtype=pb.DTYPE_FLOAT64, shape=shape, data=np.full(amount, fill).tobytes())
        )

    return spoil


_STATE = "observation.state"
_ROBOT_LEFT = "leftover.robot_actions"
_JPEG = encode(PICTURE).data
_PICTURE = "observation.images.0"

# What is wrong, and whether the sentence names what a person would look for.
BAD_REQUESTS: dict[str, tuple[Infer, str]] = {
    "state: bytes of a pickle": (_set(f"{_STATE}.data", PICKLE), "state"),
    "shape negative": (_set(f"{_STATE}.shape", [-6]), "state"),
    "shape zero": (_set(f"{_STATE}.shape", [0]), "state"),
    "shape huge": (_set(f"{_STATE}.shape", [2**62]), "state"),
    "shape whose product overflows": (_set(f"{_STATE}.shape", [2**32, 2**32]), "state"),
    "shape with more bytes": (_set(f"{_STATE}.shape", [3]), "state"),
    "shape with fewer bytes": (_set(f"{_STATE}.shape", [99]), "state"),
    "rank of 100": (_set(f"{_STATE}.shape", [1] * 100), "state"),
    "dtype absent": (_set(f"{_STATE}.dtype", 0), "state"),
    "dtype unknown": (_set(f"{_STATE}.dtype", 77), "state"),
    "state with NaN": (_numbers(_STATE, [6], np.nan), "shoulder_pan"),
    "state with Inf": (_numbers(_STATE, [6], np.inf), "shoulder_pan"),
    "state too wide": (_numbers(_STATE, [7]), "shoulder_pan"),
    "state too narrow": (_numbers(_STATE, [5]), "shoulder_pan"),
    "JPEG claims 65535": (_set(f"{_PICTURE}.data", claimed(_JPEG, 65_535, 65_535)), "front"),
    "picture claims 65535": (_set(f"{_PICTURE}.width", 65_535), "front"),
    "JPEG truncated": (_set(f"{_PICTURE}.data", _JPEG[:-40]), "front"),
    "JPEG empty": (_set(f"{_PICTURE}.data", b""), "front"),
    "JPEG grey": (_set(f"{_PICTURE}.data", GREY), "front"),
    "JPEG of another size": (_set(f"{_PICTURE}.data", encode(PICTURE[:24]).data), "front"),
    "picture of a pickle": (_set(f"{_PICTURE}.data", PICKLE), "front"),
    "picture encoding unknown": (_set(f"{_PICTURE}.encoding", 9), "front"),
    "picture of an unknown camera": (_set(f"{_PICTURE}.camera", "wrist"), "wrist"),
    "task of 7 MB": (_set("task", "a" * 7_000_000), "task"),
    "task with NUL": (_set("task", "a\0b"), "task"),
    "task with newline": (_set("task", "a\nb"), "task"),
    "task with an escape sequence": (_set("task", "a\x1b[2Jb"), "task"),
    "leftover too long": (_numbers(_ROBOT_LEFT, [51, 6]), "leftover"),
    "leftover with NaN": (_numbers(_ROBOT_LEFT, [4, 6], np.nan), "shoulder_pan"),
    "leftover too wide": (_numbers(_ROBOT_LEFT, [4, 7]), "leftover"),
    "leftover of a pickle": (_set(f"{_ROBOT_LEFT}.data", PICKLE), "leftover"),
    "delay negative": (_set("delay_steps", -1), "delay_steps"),
    "delay beyond the horizon": (_set("delay_steps", 51), "delay_steps"),
    "delay of 2^31": (_set("delay_steps", 2**31), "delay_steps"),
    "epoch negative": (_set("epoch", -1), "epoch"),
    "chunk longer than the horizon": (_set("chunk_length", 51), "chunk_length"),
    "guidance weight NaN": (_set("guidance.max_weight", float("nan")), "max_weight"),
    "strategy unknown": (_set("guidance.strategy", 99), "strategy"),
    "robot id with newline": (_set("robot_id", "a\nb"), "robot_id"),
}


def _turned(message: pb.OpenRequest) -> None:
    """Swaps the first two joints."""
    state = message.robot.observation.state
    first, second = state[0].name, state[1].name
    state[0].name, state[1].name = second, first


MISFITS: dict[str, tuple[Open, tuple[str, ...]]] = {
    "joints in another order": (_turned, ("robot", "policy", "shoulder_pan")),
    "joints of another name": (_set("robot.observation.state.0.name", "hip"), ("hip", "shoulder_pan")),
    "joints in another unit": (_set("robot.observation.state.0.unit", "rad"), ("rad", "deg")),
    "actions of another name": (_set("robot.action.0.name", "hip"), ("hip", "shoulder_pan")),
    "a mode that the policy lacks": (_set("guidance.mode", pb.RTC_MODE_TRAINED), ("trained", "guided")),
    "version unknown": (_set("protocol_version", 999), ("999", "server speaks 1")),
}

BAD_HANDSHAKES: dict[str, Open] = {
    "robot id of 10 000": _set("robot_id", "a" * 10_000),
    "robot id empty": _set("robot_id", ""),
    "limit NaN": _set("robot.action.0.low", float("nan")),
    "unit with NUL": _set("robot.observation.state.0.unit", "de\0g"),
    "kind unknown": _set("robot.action.0.kind", 99),
    "camera of no size": _set("robot.observation.cameras.0.height", -4),
    "camera that is huge": _set("robot.observation.cameras.0.width", 2**40),
}

FORBIDDEN_POLICIES = (
    "/etc/passwd",
    "../../etc/passwd",
    "good/../../outside",
    "~/x",
    "https://example.org/x.safetensors",
    "file:///etc/passwd",
    "hf://hub/model",
    "hub/model",
    "escape",
    "folder/escape",
    "..\\x",
    "a//b",
)
