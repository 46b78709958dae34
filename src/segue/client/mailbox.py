"""The mailbox between two processes (or threads): whole messages, never a wait.

A pair is a `SOCK_SEQPACKET` socket pair: the kernel keeps message boundaries,
sends are atomic, and the death of one side is an end of file at the other,
which is how the guardian notices that it is alone. `put` and `drain` return at
once whatever the other side does; a message that finds no room is dropped and
counted. Which of several messages counts (the newest request, every record) is
the reader's business. A side that writes what is no message is as good as dead:
the mailbox closes, `damage` says why, and the writer sees the end of file.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from segue.client.messages import Message, decode_message, encode_message
from segue.errors import LocalProtocolError

# A chunk of 1000 actions with 32 dimensions in both units has half a megabyte. The kernel may allow
# less: it grants twice `net.core.wmem_max` at most, which is 416 KiB where nobody raised it.
MAX_MESSAGE_BYTES = 1024 * 1024
# Whoever takes only some messages at a time takes no more bytes either, beyond the last of them.
_SOME_BYTES = 64 * 1024


class Mailbox:
    """One end of a pair."""

    def __init__(self, end: socket.socket) -> None:
        """Takes over a `SOCK_SEQPACKET` socket."""
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_MESSAGE_BYTES)
        self.closed = False
        self.damage = ""
        self.dropped = 0
        self.why_dropped = ""
        self._end = end
        # One buffer for good: a fresh one per message would be a megabyte each time.
        # A byte more than any message has shows one that is too long.
        self._buffer = memoryview(bytearray(MAX_MESSAGE_BYTES + 1))

    def __repr__(self) -> str:
        return f"<Mailbox closed={self.closed} dropped={self.dropped}>"

    def fileno(self) -> int:
        """Returns the file descriptor, for `select`."""
        return self._end.fileno()

    def put(self, message: Message) -> bool:
        """Sends `message`; when it cannot be sent returns False, and `why_dropped` says why."""
        if self.closed:
            return self._drop("nobody is there")
        try:
            data = encode_message(message)
        except LocalProtocolError as error:
            return self._drop(str(error))
        if len(data) > MAX_MESSAGE_BYTES:
            return self._drop(f"{len(data)} bytes are too large for a message")
        try:
            self._end.send(data)
        except BlockingIOError:
            return self._drop("no room")
        except OSError as error:
            self.closed = error.errno != errno.EMSGSIZE
            return self._drop("nobody is there" if self.closed else f"{len(data)} bytes are too large here")
        return True

    def drain(self, most: int | None = None) -> Iterator[Message]:
        """Yields what has arrived, oldest first; sets `closed` once the other side is gone, or mad.

        Args:
            most: of messages, and of their bytes in proportion; the rest stays for the next call. None
                takes all, which never ends while the other side writes faster than this one reads.
        """
        left, bytes_left = most, _SOME_BYTES
        while left is None or (left > 0 and bytes_left > 0):
            try:
                size = self._end.recv_into(self._buffer)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # Said once when the other side ended with unread mail; what it sent is still there.
                self.closed = True
                continue
            except OSError:
                self.closed = True
                return
            if size == 0:
                self.closed = True
                return
            left, bytes_left = (None if left is None else left - 1), bytes_left - size
            message = self._read(size)
            if message is None:
                return
            yield message

    def _read(self, size: int) -> Message | None:
        if size > MAX_MESSAGE_BYTES:
            self.distrust(f"more than {MAX_MESSAGE_BYTES} bytes")
            return None
        try:
            return decode_message(bytes(self._buffer[:size]))
        except LocalProtocolError as error:
            self.distrust(str(error))
            return None

    def distrust(self, why: str) -> None:
        """Closes this end because of what the other side wrote: it is as good as gone, `damage` says why."""
        self.damage = self.damage or why
        self.close()

    def _drop(self, why: str) -> bool:
        self.dropped += 1
        self.why_dropped = why
        return False

    def close(self) -> None:
        """Closes this end; the other side sees the end of file. May be called twice."""
        self.closed = True
        self._end.close()


def mailbox_pair() -> tuple[Mailbox, Mailbox]:
    """Returns two ends that are connected to each other."""
    left, right = socket_pair()
    return Mailbox(left), Mailbox(right)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Returns the two sockets of a pair, for an end that goes to another process."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Bell:
    """Wakes a thread that waits in `select`; ringing twice before it wakes is once."""

    def __init__(self) -> None:
        self._rope, self._hammer = socket.socketpair()
        self._rope.setblocking(False)
        self._hammer.setblocking(False)

    def fileno(self) -> int:
        """Returns the file descriptor to wait on."""
        return self._hammer.fileno()

    def ring(self) -> None:
        """Wakes the waiting thread; after `close` it does nothing."""
        try:
            self._rope.send(b"\0")
        except BlockingIOError:
            return  # it has been rung a thousand times already
        except OSError:
            if self._rope.fileno() >= 0:
                raise

    def silence(self) -> None:
        """Forgets the ringing so far."""
        try:
            while self._hammer.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Closes both ends; may be called twice."""
        self._rope.close()
        self._hammer.close()
