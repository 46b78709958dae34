"""Replies are handed out when they are due, in order."""

from __future__ import annotations

from segue.testing.servo_replies import Replies


def test_replies_wait_until_they_are_due() -> None:
    """What is due comes in order of time, then of arrival, and only once."""
    replies = Replies()
    assert replies.next_ns() is None
    replies.add([(b"c", 30), (b"a", 10)])
    replies.add([(b"b", 10)])
    assert replies.next_ns() == 10
    assert replies.take(9) == b""
    assert replies.take(29) == b"ab"
    assert replies.take(30) == b"c"
    assert replies.take(99) == b""
