"""Makes the small corpus that the fuzzer starts from: valid inputs of every target, and typical wrong ones.

Run `python -m tests.fuzz.seeds` after a change of the protocol or of the
configuration; it writes to `tests/fuzz/corpus/<target>/` what is not there yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from segue.client import messages
from segue.client.episodes import Wish
from segue.core.facts import ExitReason
from segue.core.resize import Fit
from segue.core.specs import ActionSpec
from segue.core.types import ActionChunk
from segue.wire import policy_pb2 as pb
from segue.wire.codec import add_images, encode_chunk, encode_request, set_timings
from segue.wire.handshake import encode_description, encode_handshake, encode_welcome
from segue.wire.image import encode, encode_raw
from segue.wire.records import EncodedImage, ServerDescription, ServerTimings, Welcome
from segue.wire.refusal import Reason, Refusal, encode_refusal
from segue.wire.tensors import encode_tensor

from .targets import mailbox, reply, world

CORPUS = Path(__file__).parent / "corpus"

_FLAGS = (
    ("run", "--robot.type=fake"),
    ("run", "--robot.type=sim_so101", "--robot.cameras={front: {type: sim, width: 320, fps: 15}}"),
    ("run", "--robot.type=fake", "--strategy=async", "--aggregate_fn_name=average", "--fps=20", "--seed=7"),
    ("run", "--robot.type=fake", "--inference.rtc.enabled=true", "--inference.rtc.execution_horizon=12"),
    ("run", "--robot.type=sim_so101", "--robot.belt.speed_m_s=0.05", "--episodes=3", "--task=lift"),
    ("run", "--robot.type=so101_follower", "--robot.port=/dev/ttyACM0"),
    ("run", "--fps=nan", "--unknown=1"),
    ("serve", "--port=0", "--policy.path=builtin:scripted", "--inference_latency=0.3"),
    ("serve", "--host=0.0.0.0", "--insecure", "--max_robots=3"),
    ("serve", "--tls.cert_file=c", "--tls.key_file=k", "--auth.token_file=t"),
)
_FILES = (
    "robot: {type: fake, id: arm, cameras: {front: {type: fake, width: 64, height: 48, fps: 15}}}\n",
    "robot:\n  type: sim_so101\n  belt: {max_cubes: 3}\nfps: 20\nsafety: {on_link_loss: stop_now}\n",
    "robot: {type: fake}\nrtc: {schedule: LINEAR, prefix_end: null}\nserver_address: '[::1]:8080'\n",
    "a: &a [x, x]\nb: &b [*a, *a]\nfps: *b\nrobot: {type: fake}\n",
    "? [x]\n: {y: !!python/name:os.system z}\n<<: {robot: 1}\n---\n- |\n  text\n",
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yields target and input."""
    yield from (("request", data) for data in requests())
    yield from (("reply", data) for data in replies())
    yield from (("handshake", data) for data in handshakes())
    yield from (("spec", data) for data in specs())
    yield from (("picture", data) for data in pictures())
    for array in (np.arange(6.0), np.ones((4, 3)), np.ones((2, 2), np.float32)):
        yield "tensor", bytes([array.ndim - 1]) + encode_tensor(array).SerializeToString()
    for flags in _FLAGS:
        yield "config", "\0".join(flags).encode() + b"\0\0"
    for text in _FILES:
        yield "config", b"run\0\0" + text.encode()
    yield "config", b"serve\0\0port: 0\npolicy: {path: builtin:belt, device: cpu}\ndrain_s: 1.5\n"
    packets = [messages.encode_message(message) for message in mail()]
    yield from (("mailbox", packet) for packet in packets)
    for_the_loop = [each for each, message in zip(packets, mail(), strict=True) if _is_for_the_loop(message)]
    yield "mailbox", mailbox.BETWEEN.join(for_the_loop)
    yield "mailbox", mailbox.BETWEEN.join([*for_the_loop[:3], packets[3], *for_the_loop[3:]])


def requests() -> list[bytes]:
    """Returns requests with and without history, leftover and pictures."""
    context = world.context(world.policy().spec)
    full, bare = world.request(), replace(world.request(), history=(), leftover=None, delay_steps=0)
    plain = encode_request(bare, context)
    whole = encode_request(full, context)
    add_images(whole, {"front": jpeg()}, [{"front": jpeg()}, {}])
    raw = encode_request(bare, replace(context, chunk_length=0, task=""))
    add_images(raw, {"front": encode_raw(_scene())})
    return [message.SerializeToString() for message in (plain, whole, raw)]


def replies() -> list[bytes]:
    """Returns a good chunk and typical bad ones."""
    good = world.chunk(reply.POLICY)
    message = encode_chunk(good)
    set_timings(message, ServerTimings(1, 2, 3, 4, 5, 15))
    return [message.SerializeToString(), *(encode_chunk(bad).SerializeToString() for bad in bad_chunks())]


def bad_chunks() -> list[ActionChunk]:
    """Returns chunks of which none may move the arm wrongly."""
    good = world.chunk(reply.POLICY)
    wide, far = np.ones((world.HORIZON, 4)), np.full((world.HORIZON, 3), 1e30)
    changes: tuple[dict[str, object], ...] = (
        {"robot_actions": good.robot_actions * np.nan},
        {"robot_actions": far},
        {"robot_actions": wide},
        {"robot_actions": np.zeros((1000, 3))},
        {"request_number": 9},
        {"epoch": 7},
        {"start_step": 3},
        {"policy_hash": "other"},
        {"model_actions": None, "robot_actions": good.robot_actions + 100.0},
    )
    return [replace(good, **change) for change in changes]  # type: ignore[arg-type]


def handshakes() -> list[bytes]:
    """Returns one message of each kind, behind the byte that chooses it."""
    spec = world.policy().spec
    welcome = world.opened(spec)[1]
    description = ServerDescription("0.1.0", (1,), (spec,), ready=True)
    refusal = Refusal(Reason.MISMATCH, ("joints: robot has (a), policy expects (b)",), (1,))
    return [
        b"\0" + encode_handshake(world.handshake()).SerializeToString(),
        b"\1" + encode_welcome(welcome).SerializeToString(),
        b"\2" + encode_description(description).SerializeToString(),
        b"\3" + pb.DescribeRequest().SerializeToString(),
        b"\4" + encode_refusal(refusal),
    ]


def specs() -> list[bytes]:
    """Returns what servers say of policies that fit, of some that do not, and of the largest there may be."""
    good = world.policy().spec
    seen = replace(good.observation, cameras=(replace(world.CAMERA, fit=Fit.PAD_CENTER),))
    radians = tuple(replace(d, unit="rad") for d in world.DIMENSIONS)
    changes: tuple[dict[str, object], ...] = (
        {"observation": seen},
        {"action": ActionSpec(world.DIMENSIONS[::-1])},
        {"observation": replace(seen, state=radians), "warm_inference_ns": 20_000_000_000},
        {"horizon": 4096, "history_steps": 64, "model_action_dim": 8, "action_hz": 1000.0},
        {"horizon": 1, "rtc_modes": (), "action_hz": 0.01},
    )
    offered = [replace(good, **change) for change in changes]  # type: ignore[arg-type]
    listed = ServerDescription("0.1.0", (1,), tuple(offered), ready=True)
    welcomes = [Welcome(world.SESSION, spec, spec.spec_hash(), {}) for spec in offered]
    return [
        *(b"\0" + encode_welcome(each).SerializeToString() for each in welcomes),
        b"\1" + encode_description(listed).SerializeToString(),
    ]


def pictures() -> list[bytes]:
    """Returns pictures in both encodings, and one that lies about its size."""
    good = jpeg().data
    at = good.index(b"\xff\xc0") + 5
    huge = good[:at] + b"\xff\xff\xff\xff" + good[at + 4 :]
    return [b"\0" + good, b"\1" + _scene().tobytes(), b"\0" + huge, b"\0" + good[: len(good) // 2]]


def mail() -> tuple[messages.Message, ...]:
    """Returns one message of every kind."""
    return (
        messages.Make(b"{}"),
        messages.Hello(b"{}"),
        messages.Begin(b"plan"),
        messages.Ask(7, 10**18, b"body"),
        messages.Answer(1, 2, 3, b"body"),
        messages.Opened(1, 2, "cafe"),
        messages.Closed("réseau"),
        messages.Failed(3, "deadline"),
        messages.CameraFailed("front"),
        messages.CameraWorks(),
        messages.Stop(ExitReason.REFUSED),
        messages.Mark(Wish.GO),
        messages.Task("lift"),
        messages.Record(b'{"event": "x"}'),
        messages.Commands(b"rows"),
        messages.Say("text"),
        messages.Status(1.5, "RUN", 3, None, 0, "fine"),
        messages.Ended(130, "signalled", "", b"{}"),
    )


def _is_for_the_loop(message: messages.Message) -> bool:
    kinds = (messages.Answer, messages.Opened, messages.Closed, messages.Failed, messages.Task)
    return isinstance(message, (*kinds, messages.CameraFailed, messages.CameraWorks, messages.Mark))


def _scene() -> np.ndarray:
    y, x = np.mgrid[0 : world.CAMERA.height, 0 : world.CAMERA.width]
    return np.stack([x * 4, y * 5, 255 - x * 2], axis=-1).astype(np.uint8)


def jpeg() -> EncodedImage:
    """Returns a picture of the world's camera."""
    return encode(_scene())


def main() -> None:
    """Writes the corpus."""
    for target, data in seeds():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    main()
