from __future__ import annotations

import select
import socket
import threading

import pytest

from segue.client.mailbox import MAX_MESSAGE_BYTES, Bell, Mailbox, mailbox_pair, socket_pair
from segue.client.messages import CameraWorks, Closed, Message, Record, Say, encode_message


def drained(mailbox: Mailbox) -> list[Message]:
    return list(mailbox.drain())


def test_messages_arrive_whole_and_in_order() -> None:
    """What was put in comes out, each message for itself, oldest first."""
    left, right = mailbox_pair()
    for k in range(5):
        assert left.put(Closed(f"cause {k}"))
    assert drained(right) == [Closed(f"cause {k}") for k in range(5)]


def test_an_empty_mailbox_never_waits() -> None:
    """Draining an empty mailbox returns at once with nothing."""
    left, right = mailbox_pair()
    assert drained(right) == []
    assert not right.closed
    assert not left.closed


def test_a_full_mailbox_drops_and_counts_and_never_waits() -> None:
    """Beyond what the pipe holds, messages are dropped and counted; what was in it stays."""
    left, right = mailbox_pair()
    sent = 0
    while left.put(Record(bytes(1000))):
        sent += 1
        assert sent < 100_000
    assert not left.put(Record(bytes(1000)))
    assert left.dropped == 2
    assert left.why_dropped == "no room"
    assert not left.closed
    assert len(drained(right)) == sent
    assert left.put(Record(bytes(1000)))


def test_a_message_larger_than_the_limit_is_dropped() -> None:
    """A message that could not be read in one piece is not sent at all."""
    left, right = mailbox_pair()
    assert not left.put(Record(bytes(MAX_MESSAGE_BYTES)))
    assert left.dropped == 1
    assert "too large" in left.why_dropped
    assert drained(right) == []


def test_the_death_of_one_side_is_seen_by_the_other_after_its_last_words() -> None:
    """What the other side said before it closed is read first; then the mailbox is closed."""
    left, right = mailbox_pair()
    left.put(Closed("the end"))
    left.close()
    assert drained(right) == [Closed("the end")]
    assert right.closed
    assert not right.put(Closed("too late"))


def test_unread_mail_does_not_hide_the_last_words() -> None:
    """A side that dies with unread mail resets the socket, and its last words are read all the same."""
    left, right = mailbox_pair()
    right.put(Closed("never read"))
    left.put(Closed("the end"))
    left.close()
    assert drained(right) == [Closed("the end")]
    assert right.closed


def test_putting_into_a_mailbox_whose_reader_is_gone_says_so() -> None:
    """The first message after the reader's death is dropped, and the mailbox knows that it is closed."""
    left, right = mailbox_pair()
    right.close()
    assert not left.put(Closed("anybody?"))
    assert left.closed


def raw_pair() -> tuple[socket.socket, Mailbox]:
    """Returns a bare socket to write anything into, and the mailbox at its other end."""
    here, there = socket_pair()
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * MAX_MESSAGE_BYTES)
    return here, Mailbox(there)


def test_a_neighbour_that_writes_nonsense_is_as_good_as_dead() -> None:
    """What came before the first damage is read; then this end closes, says why, and the writer sees it."""
    writer, mailbox = raw_pair()
    for data in (encode_message(Closed("good")), b"\xff nonsense", encode_message(Closed("never read"))):
        writer.send(data)
    assert drained(mailbox) == [Closed("good")]
    assert mailbox.closed
    assert "message" in mailbox.damage
    assert drained(mailbox) == []
    assert not mailbox.put(Closed("anybody?"))
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        writer.send(b"x")


def test_a_message_that_is_too_long_is_damage() -> None:
    """A packet of more bytes than any message may have is not read as a part of one."""
    writer, mailbox = raw_pair()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MAX_MESSAGE_BYTES)
    try:
        writer.send(encode_message(Record(bytes(MAX_MESSAGE_BYTES))))
    except OSError:
        pytest.skip("this kernel sends no packets of a megabyte")
    assert drained(mailbox) == []
    assert "more than" in mailbox.damage


def test_mail_may_be_taken_a_little_at_a_time() -> None:
    """So many messages are taken, oldest first, or so many bytes; the rest is there the next time."""
    left, right = mailbox_pair()
    for k in range(5):
        left.put(Closed(str(k)))
    assert list(right.drain(2)) == [Closed("0"), Closed("1")]
    assert list(right.drain(2)) == [Closed("2"), Closed("3")]
    for _ in range(3):
        left.put(Record(bytes(60_000)))
    assert len(list(right.drain(100))) == 3  # one small and two large ones
    assert len(list(right.drain(100))) == 1


def test_a_flood_does_not_hold_up_whoever_takes_a_little() -> None:
    """While another thread writes without a pause, taking sixteen at a time comes to its end each time."""
    left, right = mailbox_pair()
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            left.put(CameraWorks())

    writer = threading.Thread(target=flood)
    while left.put(CameraWorks()):
        continue
    writer.start()
    taken = [len(list(right.drain(16))) for _ in range(200)]
    over.set()
    writer.join()
    assert max(taken) == 16


def test_what_no_reader_would_take_is_not_sent() -> None:
    """A sentence without an end is dropped and counted here; the neighbour goes on listening."""
    left, right = mailbox_pair()
    assert not left.put(Say("x" * 100_000))
    assert (left.dropped, "bytes of fields" in left.why_dropped) == (1, True)
    assert left.put(Say("short"))
    assert drained(right) == [Say("short")]


def test_closing_twice_is_no_error() -> None:
    """A closed mailbox may be closed, drained and put into; nothing happens."""
    left, _ = mailbox_pair()
    left.close()
    left.close()
    assert drained(left) == []
    assert not left.put(Closed(""))


def test_an_end_works_after_its_number_was_handed_over() -> None:
    """A mailbox made from an inherited file descriptor is connected to the other end."""
    mine, other = socket_pair()
    there = Mailbox(socket.socket(fileno=other.detach()))
    here = Mailbox(mine)
    here.put(Closed("hello"))
    assert drained(there) == [Closed("hello")]


def test_a_bell_wakes_a_waiting_thread_and_is_silent_again() -> None:
    """Ringing, from another thread and however often, makes `select` return until silenced."""
    bell = Bell()
    ringers = [threading.Thread(target=bell.ring) for _ in range(4)]
    for ringer in ringers:
        ringer.start()
    assert select.select([bell], [], [], 10)[0] == [bell]
    for ringer in ringers:
        ringer.join()
    bell.silence()
    assert select.select([bell], [], [], 0)[0] == []
    bell.close()


@pytest.mark.parametrize("rings", [1, 100_000])
def test_a_bell_rung_without_end_or_after_the_end_does_nothing(rings: int) -> None:
    """Nobody who rings is ever held up or hurt, not even after the bell was closed."""
    bell = Bell()
    for _ in range(rings):
        bell.ring()
    assert select.select([bell], [], [], 0)[0] == [bell]
    bell.close()
    bell.ring()
    assert bell.fileno() == -1
