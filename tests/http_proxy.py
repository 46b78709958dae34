"""A real HTTP proxy on loopback that connects, or refuses to, and remembers who came."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
SPELLINGS = [spelt for name in VARIABLES for spelt in (name, name.upper())]
EXCEPTIONS = ("no_proxy", "no_grpc_proxy")


class HttpProxy:
    """A proxy; use it as a context manager."""

    def __init__(self, target: str | None = None, status: int = 200) -> None:
        """Begins at once.

        Args:
            target: where everybody is connected to, whatever they ask for; None for where they ask.
            status: what it answers; with any but 200 it connects nobody.
        """
        self.heads: list[str] = []
        self._target = target
        self._status = status
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = "{}:{}".format(*self._door.getsockname())
        threading.Thread(target=self._let_in, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._door, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @property
    def asked_for(self) -> list[str]:
        """The first line of each request."""
        return [head.splitlines()[0] for head in self.heads]

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                self._open.append(client)
                self.heads.append("nothing was said")
                threading.Thread(target=self._serve, args=(client, len(self.heads) - 1), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in said and (data := client.recv(65536)):
                said += data
            self.heads[number] = said.decode("latin-1") or "nothing was said"
            client.sendall(f"HTTP/1.1 {self._status} as told\r\n\r\n".encode())
            if self._status != 200:
                client.shutdown(socket.SHUT_RDWR)
                return
            host, _, port = (self._target or said.split()[1].decode()).rpartition(":")
            server = socket.create_connection((host.strip("[]"), int(port)), timeout=5.0)
            server.settimeout(None)
            self._open.append(server)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
