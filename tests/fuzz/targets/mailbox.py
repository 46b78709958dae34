"""A message of one of our own processes to the other: it comes back as it was, or is no message.

Both ends are ours, so garbage is a bug and not an attack, and reading it may
raise any of the errors of a broken format. What is read is read the same again.
"""

from __future__ import annotations

import struct

from segue.client.messages import decode_message, encode_message

# Too short, no JSON, an unknown kind, other fields than the kind has, nested without end.
BROKEN = (struct.error, ValueError, IndexError, TypeError, RecursionError)


def check(data: bytes) -> None:
    """Reads `data` as a message."""
    try:
        message = decode_message(data)
    except BROKEN:
        return
    again = encode_message(message)
    # Texts, because a number that is not a number is not equal to itself.
    assert repr(decode_message(again)) == repr(message)
