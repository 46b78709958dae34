"""Requests on their way: completed with session and pictures, sent, and waited for.

Frames are taken at the moment of sending. At most a few calls are known at a
time: the one under way, and those that were given up and have not ended yet.
What an end means is for the link's machine to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.client.channel import Call, answer_of
from segue.client.connect import Connector, News
from segue.client.messages import Answer, Ask
from segue.client.pictures import Pictures
from segue.clock import Clock
from segue.core.link import events as ev
from segue.core.link.heard import Heard, Status
from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.codec import add_images, decode_chunk
from segue.wire.parse import parse


@dataclass(slots=True)
class _Flight:
    """A call under way, and its answer in the end."""

    call: Call
    number: int
    sent_ns: int
    sent_bytes: int
    done_ns: int = 0
    reply: bytes = b""


class Courier:
    """Takes requests to the server and answers back."""

    def __init__(
        self, connector: Connector, pictures: Pictures, clock: Clock, tell: Callable[[News], None]
    ) -> None:
        """Sends nothing yet; `tell` takes news from any thread."""
        self._connector = connector
        self._pictures = pictures
        self._clock = clock
        self._tell = tell
        self._flights: dict[int, _Flight] = {}
        self._epoch = (1, 0)  # the newest, and the stamp of its first observation

    def __repr__(self) -> str:
        return f"<Courier {list(self._flights)}>"

    def send(self, ask: Ask, effect: ev.Send) -> None:
        """Completes a request and sends it.

        Raises:
            RobotFault: a camera has no picture that is young enough; nothing was sent.
        """
        body = self._completed(ask, effect)
        now_ns = self._clock.now_ns()
        call = self._connector.infer(body, max(1, ask.deadline_ns - now_ns))
        flight = _Flight(call, ask.number, now_ns, len(body))
        self._flights[ask.number] = flight
        call.add_done_callback(lambda _: self._done(flight))

    def cancel(self, number: int) -> None:
        """Gives a call up."""
        flight = self._flights.pop(number, None)
        if flight is not None:
            flight.call.cancel()

    def answer(self, number: int) -> Answer:
        """Returns the answer to a request that was answered, and forgets it."""
        flight = self._flights.pop(number)
        return Answer(
            call_ns=flight.done_ns - flight.sent_ns,
            arrived_ns=self._clock.now_ns(),
            observation_bytes=flight.sent_bytes,
            body=flight.reply,
        )

    def close(self) -> None:
        """Gives up whatever is under way."""
        for number in list(self._flights):
            self.cancel(number)

    def _completed(self, ask: Ask, effect: ev.Send) -> bytes:
        """Returns the request with its session and its pictures."""
        message = pb.InferRequest.FromString(ask.body)
        message.session_id = effect.session_id
        message.spec_hash = effect.spec_hash
        earlier = self._pictures.earlier([each.captured_ns for each in message.history])
        if message.epoch > self._epoch[0]:
            self._epoch = (message.epoch, message.observation.captured_ns)
        add_images(message, self._pictures.newest(since_ns=self._epoch[1]), earlier)
        return message.SerializeToString()

    def _done(self, flight: _Flight) -> None:
        """Notes that a call ended; runs on a thread of gRPC's."""
        flight.done_ns = self._clock.now_ns()
        self._tell(lambda: self._outcome(flight))

    def _outcome(self, flight: _Flight) -> ev.Event:
        answer = answer_of(flight.call)
        if isinstance(answer, bytes):
            try:
                timings = decode_chunk(parse(pb.InferReply, answer))[1]
            except RemoteProtocolError as error:
                answer = unreadable(error)
        if isinstance(answer, Heard):
            self._flights.pop(flight.number, None)
            return ev.Unanswered(flight.number, answer)
        flight.reply = answer
        took_ns = flight.done_ns - flight.sent_ns
        return ev.Answered(flight.number, took_ns, timings.total_ns, flight.sent_bytes)


def unreadable(error: RemoteProtocolError) -> Heard:
    """Returns what a link hears in a reply that cannot be read."""
    return Heard(Status.UNREADABLE, f"unreadable reply: {error}")
