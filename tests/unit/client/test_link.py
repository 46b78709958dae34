from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest

from segue.cameras.latest import LatestFrame, WatchPlan
from segue.client.diary import Diary
from segue.client.link import CAMERA_LOOK_NS, Link
from segue.client.mailbox import MAX_MESSAGE_BYTES, Mailbox, mailbox_pair
from segue.client.messages import (
    Answer,
    Ask,
    CameraFailed,
    CameraWorks,
    Closed,
    Failed,
    Message,
    Opened,
    Record,
    Say,
    Stop,
)
from segue.client.pictures import Pictures
from segue.client.plan import LinkPlan
from segue.clock import NS_PER_MS, NS_PER_S, SystemClock
from segue.core.link.states import Backoff
from segue.core.specs import CameraSpec
from segue.core.types import ChunkRequest, Frame, Guidance, Observation
from segue.errors import SpecMismatch
from segue.testing.cameras import FakeCamera, natural_frames
from segue.wire import policy_pb2 as pb
from segue.wire.codec import encode_request, encoded_images
from segue.wire.image import decode
from segue.wire.records import Encoding, Handshake, RequestContext
from segue.wire.refusal import Reason
from segue.wire.version import MAX_MESSAGE_BYTES as MAX_REPLY_BYTES
from tests.unit.cameras.samples import jpeg_of
from tests.unit.client.toyserver import ROBOT, No, ToyServer

Code = grpc.StatusCode
WAIT_S = 20.0
CAMERA = CameraSpec("front", 48, 64)


class Rig:
    """A link on its thread, with the control loop's end of the mailbox in the test's hands."""

    def __init__(self, address: str, camera: FakeCamera | None = None) -> None:
        clock = SystemClock()
        self.camera = camera or FakeCamera(CAMERA)
        self.latest = LatestFrame(self.camera, WatchPlan(stale_ns=NS_PER_S // 4, reopen_ns=NS_PER_S // 10))
        self.latest.start()
        assert self.latest.wait_first(WAIT_S)
        self.mailbox, link_end = mailbox_pair()
        self.records, diary_end = mailbox_pair()
        plan = LinkPlan(address, connect_timeout_ns=NS_PER_S)
        self.link = Link(plan, ROBOT, lambda policies: Handshake("arm", ROBOT), clock, 60 * NS_PER_S)
        assert self.link.open(lambda: False, lambda heard: None) is not None
        pictures = Pictures({"front": self.latest}, Encoding.JPEG, 90)
        parts = (link_end, pictures, Diary(diary_end, "arm", "link"))
        self.heard: list[Message] = []
        self.thread = threading.Thread(target=self.link.run, args=parts)
        self.thread.start()
        self.wait_for(Opened)

    def ask(self, number: int, within_ms: int = 5_000, history: tuple[int, ...] = (), epoch: int = 1) -> None:
        now_ns = time.monotonic_ns()
        earlier = tuple(Observation(0, stamp, np.zeros(1)) for stamp in history)
        seen = Observation(0, now_ns, np.zeros(1))
        request = ChunkRequest(number, epoch, 0, seen, earlier, None, 0, now_ns, 0, 0)
        context = RequestContext("arm", "", "", "wave", Guidance(), 50, 0)
        body = encode_request(request, context).SerializeToString()
        self.mailbox.put(Ask(number, now_ns + within_ms * NS_PER_MS, body))

    def wait_for(self, kind: type[Message]) -> Message:
        return self.wait_until(lambda: next((m for m in self.heard if isinstance(m, kind)), None), kind)

    def wait_until(self, look: Callable[[], Message | None], what: object) -> Message:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            self.heard.extend(self.mailbox.drain())
            found = look()
            if found is not None:
                self.heard.remove(found)
                return found
            time.sleep(0.005)
        raise AssertionError(f"waited in vain for {what}; heard {self.heard}")

    def end(self) -> None:
        self.link.stop()
        self.thread.join(WAIT_S)
        self.latest.stop()


@pytest.fixture
def rig(toy: ToyServer) -> Iterator[Rig]:
    """Runs a link to the toy server, already open."""
    made = Rig(toy.address)
    yield made
    made.end()
    assert not made.thread.is_alive()


def test_a_request_is_completed_sent_and_answered(toy: ToyServer, rig: Rig) -> None:
    """The link adds session, spec hash and newest picture, and the encoded reply comes back."""
    rig.ask(1)
    answer = rig.wait_for(Answer)
    assert isinstance(answer, Answer)
    assert pb.InferReply.FromString(answer.body).request_number == 1
    (sent,) = toy.inferred
    assert sent.session_id == "session-1"
    assert sent.spec_hash
    assert [image.camera for image in sent.observation.images] == ["front"]
    assert answer.observation_bytes == sent.ByteSize()
    assert 0 < answer.call_ns < NS_PER_S


def test_earlier_observations_get_their_own_pictures(toy: ToyServer, rig: Rig) -> None:
    """A policy with a memory gets a picture for each earlier observation, too."""
    rig.latest.keep(8)
    rig.ask(1, history=(time.monotonic_ns(), time.monotonic_ns()))
    rig.wait_for(Answer)
    assert [len(each.images) for each in toy.inferred[0].history] == [1, 1]


def test_a_newer_request_gives_the_older_up(toy: ToyServer, rig: Rig) -> None:
    """Only the newest request is answered; the one before is cancelled and not reported."""
    toy.stuck.set()
    rig.ask(1)
    deadline = time.monotonic() + WAIT_S
    while not toy.inferred and time.monotonic() < deadline:
        time.sleep(0.005)
    toy.stuck.clear()
    toy.on_infer = lambda: None
    rig.ask(2)
    numbers = []
    while 2 not in numbers:
        answer = rig.wait_for(Answer)
        assert isinstance(answer, Answer)
        numbers.append(pb.InferReply.FromString(answer.body).request_number)
    assert not [message for message in rig.heard if isinstance(message, Failed | Closed)]


def test_an_unknown_session_is_opened_again_on_the_same_channel(toy: ToyServer, rig: Rig) -> None:
    """FAILED_PRECONDITION closes the link, once, until a new session is open; the next request uses it."""
    channel = rig.link.connector.channel
    toy.infers = [No(Code.FAILED_PRECONDITION, Reason.UNKNOWN_SESSION)]
    rig.ask(1)
    rig.wait_for(Closed)
    rig.wait_for(Opened)
    rig.ask(2)
    rig.wait_for(Answer)
    assert not [message for message in rig.heard if isinstance(message, Failed | Closed)]
    assert toy.inferred[-1].session_id == "session-2"
    assert rig.link.connector.channel is channel


def test_an_unavailable_server_is_dialled_on_a_fresh_channel(toy: ToyServer, rig: Rig) -> None:
    """UNAVAILABLE closes the link, and a fresh channel with a fresh handshake opens it again."""
    channel = rig.link.connector.channel
    toy.infers = [No(Code.UNAVAILABLE, Reason.DRAINING)]
    rig.ask(1)
    rig.wait_for(Closed)
    rig.wait_for(Opened)
    assert rig.link.connector.channel is not channel


def test_a_server_that_dies_between_two_requests_is_noticed(toy: ToyServer, rig: Rig) -> None:
    """The link is closed and dialled again without a request that would have to fail first."""
    toy.stop()
    assert rig.wait_for(Closed) == Closed("connection lost", "link_lost")
    again = ToyServer(port=toy.port)
    rig.wait_for(Opened)
    again.stop()


def test_a_failed_dial_is_reported_once(rig: Rig, toy: ToyServer) -> None:
    """While nobody answers, the first failed dial is told and the others are not."""
    toy.stop()
    rig.wait_for(Closed)
    rig.wait_for(Failed)
    deadline = time.monotonic() + WAIT_S
    while rig.link.machine.failures < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    rig.heard.extend(rig.mailbox.drain())
    assert rig.link.machine.failures >= 4
    assert not [message for message in rig.heard if isinstance(message, Failed)]


def test_two_missed_deadlines_in_a_row_throw_the_channel_away(toy: ToyServer, rig: Rig) -> None:
    """One silent request is only reported; the second also closes the link and dials afresh."""
    channel = rig.link.connector.channel
    toy.stuck.set()
    rig.ask(1, within_ms=100)
    assert rig.wait_for(Failed) == Failed(1, "deadline", "link_lost")
    assert rig.link.connector.channel is channel
    rig.ask(2, within_ms=100)
    assert rig.wait_for(Failed) == Failed(2, "deadline", "link_lost")
    rig.wait_for(Closed)
    rig.wait_for(Opened)
    assert rig.link.connector.channel is not channel


def test_a_server_that_says_no_again_and_again_is_asked_less_often(toy: ToyServer, rig: Rig) -> None:
    """The third failure in a row is reported later than it happened; the channel stays."""
    channel = rig.link.connector.channel
    toy.infers = [No(Code.INTERNAL, Reason.POLICY_FAILED)] * 3
    took = []
    for number in (1, 2, 3):
        began = time.monotonic()
        rig.ask(number)
        rig.wait_for(Failed)
        took.append(time.monotonic() - began)
    assert took[2] >= 0.05
    assert rig.link.connector.channel is channel
    rig.ask(4)
    rig.wait_for(Answer)


def test_a_refusal_in_mid_run_asks_for_the_end(toy: ToyServer, rig: Rig) -> None:
    """When the server comes back with another robot in mind, the run is to end and the link says why."""
    toy.infers = [No(Code.FAILED_PRECONDITION, Reason.UNKNOWN_SESSION)]
    toy.opens = [No(Code.FAILED_PRECONDITION, Reason.MISMATCH, ("pan: deg, rad",))]
    rig.ask(1)
    assert rig.wait_for(Stop) == Stop("refused")
    assert isinstance(rig.link.refusal, SpecMismatch)


@pytest.mark.parametrize("fault", ["fail", "block", "freeze"])
def test_a_camera_that_fails_and_works_again_is_told(rig: Rig, fault: str) -> None:
    """A camera that raises, blocks or repeats itself is reported by name, and so is its return."""
    getattr(rig.camera, fault)()
    failed = rig.wait_for(CameraFailed)
    assert isinstance(failed, CameraFailed)
    assert "front" in failed.what
    rig.camera.heal()
    rig.wait_for(CameraWorks)


def test_a_request_without_a_fresh_picture_is_not_sent(toy: ToyServer, rig: Rig) -> None:
    """A request that finds no picture young enough fails here, and the camera's fault is told."""
    rig.camera.block()
    rig.wait_for(CameraFailed)
    deadline = time.monotonic() + WAIT_S
    while rig.latest.latest(NS_PER_S) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    rig.ask(1)
    failed = rig.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "front" in failed.cause
    assert toy.inferred == []


def test_the_link_ends_when_the_control_loop_is_gone(rig: Rig) -> None:
    """Closing the loop's end of the mailbox ends the link's thread."""
    rig.mailbox.close()
    rig.thread.join(WAIT_S)
    assert not rig.thread.is_alive()


def test_the_end_of_the_link_is_the_end_of_its_mailbox(rig: Rig) -> None:
    """However the link ends, the loop sees its mailbox closed."""
    rig.link.stop()
    rig.thread.join(WAIT_S)
    assert closed(rig.mailbox)


def closed(mailbox: Mailbox) -> bool:
    list(mailbox.drain())
    return mailbox.closed


def test_a_report_held_back_is_forgotten_with_its_request(toy: ToyServer, rig: Rig) -> None:
    """Once a newer request is under way, the failure of an older one that was held back is never told."""
    toy.infers = [No(Code.INTERNAL, Reason.POLICY_FAILED)] * 3
    for number in (1, 2):
        rig.ask(number)
        rig.wait_for(Failed)
    rig.ask(3)
    wait_for_truth(lambda: len(toy.inferred) == 3)
    told_ns = time.monotonic_ns() + Backoff().wait_ns(1, 1.0)
    toy.stuck.set()
    rig.ask(4)
    wait_for_truth(lambda: time.monotonic_ns() > told_ns + 2 * CAMERA_LOOK_NS)
    toy.stuck.clear()
    rig.wait_for(Answer)
    assert not [message for message in rig.heard if isinstance(message, Failed)]


def test_the_first_request_after_a_hold_has_no_picture_from_before(toy: ToyServer, rig: Rig) -> None:
    """In a new epoch a picture from before it is not sent, though it is young enough in the old one."""
    rig.ask(1)
    rig.wait_for(Answer)
    rig.camera.freeze()
    frozen = rig.latest.latest()
    assert frozen is not None
    wait_for_truth(lambda: time.monotonic_ns() - frozen.captured_ns > 3 * NS_PER_S // CAMERA.fps)
    rig.ask(2)
    rig.wait_for(Answer)
    rig.ask(3, epoch=2)
    failed = rig.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "front" in failed.cause
    rig.camera.heal()
    rig.ask(4, epoch=2)
    rig.wait_for(Answer)


def test_a_reply_too_large_for_the_mailbox_fails_with_the_reason(toy: ToyServer, rig: Rig) -> None:
    """A reply that cannot be passed on is a failed request that says why."""
    toy.padding = MAX_MESSAGE_BYTES
    rig.ask(1)
    failed = rig.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert "too large" in failed.cause


def test_the_record_says_how_the_server_was_configured(rig: Rig) -> None:
    """The line of an open link has what the server resolved."""
    opened: list[dict[str, object]] = []

    def said() -> bool:
        lines = [json.loads(each.body) for each in rig.records.drain() if isinstance(each, Record)]
        opened.extend(line for line in lines if line["event"] == "link" and line["state"] == "ready")
        return bool(opened)

    wait_for_truth(said)
    assert [line["configuration"] for line in opened] == [{"device": "abacus"}]


def wait_for_truth(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_server_that_forgets_every_session_is_dialled_later_and_later(toy: ToyServer, rig: Rig) -> None:
    """The first unknown session is opened again at once; each one after it waits, from 100 ms on."""
    for number in range(1, 5):
        toy.infers.append(No(Code.FAILED_PRECONDITION, Reason.UNKNOWN_SESSION))
        rig.ask(number)
        asked_ns = time.monotonic_ns()
        rig.wait_for(Closed)
        rig.wait_for(Opened)
        took_ns = time.monotonic_ns() - asked_ns
        assert (took_ns >= 100 * NS_PER_MS) == (number > 1), (number, took_ns)
    rig.ask(9)
    rig.wait_for(Answer)
    assert len(toy.opened) == 5


def test_a_damaged_reply_is_a_failed_request(toy: ToyServer, rig: Rig) -> None:
    """Bytes that are no reply end nothing and are asked for again later and later; a good reply ends that."""
    toy.garbage = b"\xff\xff\xff"
    took_ns = []
    for number in range(1, 5):
        began_ns = time.monotonic_ns()
        rig.ask(number)
        failed = rig.wait_for(Failed)
        assert isinstance(failed, Failed)
        assert (failed.number, failed.cause.split(":")[0]) == (number, "unreadable reply")
        took_ns.append(time.monotonic_ns() - began_ns)
    assert min(took_ns[2:]) >= 100 * NS_PER_MS
    toy.garbage = b""
    rig.ask(9)
    rig.wait_for(Answer)


def test_a_server_that_opens_and_never_answers_is_dialled_later_and_later(toy: ToyServer, rig: Rig) -> None:
    """A server that takes sessions and is unavailable for every request is not dialled without a pause."""
    took_ns = []
    for number in range(1, 5):
        toy.infers.append(No(Code.UNAVAILABLE))
        began_ns = time.monotonic_ns()
        rig.ask(number)
        rig.wait_for(Closed)
        rig.wait_for(Opened)
        took_ns.append(time.monotonic_ns() - began_ns)
    assert min(took_ns[1:]) >= 100 * NS_PER_MS


def test_a_slow_link_gets_smaller_pictures_once_and_says_so(toy: ToyServer, rig: Rig) -> None:
    """After two uploads of more than 200 ms pictures shrink; the diary and the person hear of it once."""
    toy.on_infer = lambda: time.sleep(0.3)
    sizes = []
    for number in range(1, 6):
        rig.ask(number)
        answer = rig.wait_for(Answer)
        assert isinstance(answer, Answer)
        sizes.append(answer.observation_bytes)
    assert max(sizes[2:]) < 0.8 * min(sizes[:2])
    records = list(rig.records.drain())
    told = [m.text for m in records if isinstance(m, Say)]
    lines = [json.loads(m.body) for m in records if isinstance(m, Record)]
    changed = [line for line in lines if line["event"] == "image_quality"]
    assert [(c["quality_from"], c["quality_to"]) for c in changed] == [(90, 40)]
    assert len(told) == 1
    assert "the link is slow" in told[0]


class DamagingCamera(FakeCamera):
    """A camera whose every JPEG has bytes too many before its end."""

    def grab(self) -> Frame:
        shown = super().grab()
        jpeg = jpeg_of(natural_frames(48, 64, 1, 2)[0], quality=80)  # small enough to pass
        return Frame(None, shown.captured_ns, shown.number, jpeg[:-2] + bytes(40) + jpeg[-2:])


def test_damaged_jpegs_are_made_anew_and_that_is_said_once(toy: ToyServer) -> None:
    """What is sent decodes as strictly as on the server; the diary and the person hear of it once."""
    rig = Rig(toy.address, DamagingCamera(CAMERA))
    for number in range(1, 4):
        rig.ask(number)
        rig.wait_for(Answer)
    rig.end()
    sent = [encoded_images(each.observation)["front"] for each in toy.inferred]
    assert [decode(image, CAMERA).shape for image in sent] == [(48, 64, 3)] * 3
    records = list(rig.records.drain())
    lines = [json.loads(m.body) for m in records if isinstance(m, Record)]
    assert [line["camera"] for line in lines if line["event"] == "jpeg_damaged"] == ["front"]
    told = [m.text for m in records if isinstance(m, Say)]
    assert len(told) == 1
    assert told[0].startswith("camera front: its own JPEGs are damaged")


def test_a_slow_policy_is_no_slow_link(toy: ToyServer, rig: Rig) -> None:
    """Time that the server says it took for itself does not make the pictures smaller."""
    toy.on_infer = lambda: time.sleep(0.3)
    toy.served_ns = 300 * NS_PER_MS
    for number in range(1, 5):
        rig.ask(number)
        rig.wait_for(Answer)
    events = [json.loads(m.body)["event"] for m in rig.records.drain() if isinstance(m, Record)]
    assert "image_quality" not in events


def test_a_gigantic_reply_is_a_failed_request(toy: ToyServer, rig: Rig) -> None:
    """A reply beyond the limit is not read: the request fails, and the next one is answered."""
    toy.padding = 3 * MAX_REPLY_BYTES
    rig.ask(1)
    failed = rig.wait_for(Failed)
    assert isinstance(failed, Failed)
    assert failed.number == 1
    assert "resource exhausted" in failed.cause
    toy.padding = 0
    rig.ask(2)
    rig.wait_for(Answer)
