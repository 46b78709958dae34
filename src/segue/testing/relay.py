"""The inside of the fault proxy: connections that are passed on, late, slowly or not at all.

Everything here lives on one event loop. Each direction of a connection is a
reader and a writer with a bounded buffer in between; what is read gets a time
at which it is due. A full buffer stops the reader, so that a slow link is felt
by the sender as a slow link is. Bytes are never left out of a stream: what a
network loses TCP sends again, so a network that swallows holds them back, and
when it heals either delivers them or the connection is reset. The one exception
is a router that has forgotten a connection: that never heals.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from segue.testing.nat import Mapping, Nat
from segue.testing.netfaults import MOMENTARY, Change, NetFault, Schedule

READ_BYTES = 64 * 1024
BUFFER_BYTES = 1024 * 1024
# What waits before a slow link: more would be seconds of it.
SLOW_BUFFER_BYTES = 32 * 1024
# A throttled writer sends as much as the link carries in this time at once.
SLICE_S = 0.02
LOOPBACK = "127.0.0.1"
BACKLOG = 128
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@dataclass(slots=True)
class Counts:
    """What a proxy has done.

    Attributes:
        connections: taken from clients.
        up_bytes, down_bytes: delivered to the server and to clients.
        flipped: bytes that were delivered with a bit flipped.
        forgotten: connections on which something was sent after they were forgotten.
        faults: changes carried out, by kind.
    """

    connections: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    flipped: int = 0
    forgotten: int = 0
    faults: Counter[NetFault] = field(default_factory=Counter)


class Way:
    """One direction of all connections: how bad it is at present."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.bytes_per_s = 0.0
        self.flips = 0.0
        self.open = asyncio.Event()
        self.open.set()
        self._free_at = 0.0

    def __repr__(self) -> str:
        state = "open" if self.open.is_set() else "swallows"
        return f"<Way {state} delay_s={self.delay_s:g} bytes_per_s={self.bytes_per_s:g}>"

    @property
    def buffer_bytes(self) -> int:
        """How much may wait in one connection."""
        return SLOW_BUFFER_BYTES if self.bytes_per_s else BUFFER_BYTES

    @property
    def slice_bytes(self) -> int:
        """How much is sent at once."""
        return max(1, int(self.bytes_per_s * SLICE_S)) if self.bytes_per_s else READ_BYTES

    def change(self, change: Change) -> None:
        """Becomes what `change` says."""
        if change.fault is NetFault.DELAY:
            self.delay_s, self.jitter_s = change.value / 1000, change.jitter_ms / 1000
        elif change.fault is NetFault.THROTTLE:
            self.bytes_per_s = change.value
        elif change.fault is NetFault.FLIP:
            self.flips = change.value
        elif change.fault is NetFault.SWALLOW and change.value:
            self.open.clear()
        elif change.fault is NetFault.SWALLOW:
            self.open.set()

    async def carry(self, count: int) -> None:
        """Waits as long as `count` bytes take on the link, which all connections share."""
        if self.bytes_per_s:
            now = asyncio.get_running_loop().time()
            self._free_at = max(now, self._free_at) + count / self.bytes_per_s
            await asyncio.sleep(self._free_at - now)
        await self.open.wait()


@dataclass(frozen=True, slots=True)
class Net:
    """What lies between clients and the server.

    Attributes:
        up, down: the two directions.
        nat: the router on the way.
        far: delays act on a connection's own handshake, too.
    """

    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    nat: Nat = field(default_factory=Nat)
    far: bool = False

    def __repr__(self) -> str:
        return f"up={self.up!r} down={self.down!r} nat={self.nat!r}"

    def change(self, change: Change) -> None:
        """Becomes what `change` says."""
        if change.fault is NetFault.FORGET:
            self.nat.after_s, self.nat.resets = change.value, change.reset
            return
        for way, acts in ((self.up, change.up), (self.down, change.down)):
            if acts:
                way.change(change)


class _Pipe:
    """One direction of one connection."""

    def __init__(
        self, way: Way, ends: tuple[socket.socket, socket.socket], seed: tuple[int, ...], mapping: Mapping
    ) -> None:
        """Will carry bytes from the first of `ends` to the second."""
        self.delivered = 0
        self.flipped = 0
        self._way = way
        self._mapping = mapping
        self._ends = ends
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._moved = asyncio.Event()
        self._rng = np.random.default_rng((*seed, 0))
        self._flip_rng = np.random.default_rng((*seed, 1))

    @property
    def forgotten(self) -> bool:
        """Whether something was sent after the router had forgotten the connection."""
        return self._mapping.forgotten

    async def read(self) -> None:
        """Takes what comes, as long as there is room, until the sender has finished."""
        loop, due, data = asyncio.get_running_loop(), 0.0, b"-"
        while data:
            while self._size >= self._way.buffer_bytes:
                await self._move()
            data = await self._received()
            if not self._mapping.carries(loop.time()) and data:
                continue
            late_s = self._way.delay_s + self._way.jitter_s * float(self._rng.exponential())
            due = max(due, loop.time() + late_s)  # nothing overtakes within a connection
            self._waiting.append((due, self._spoilt(data)))
            self._size += len(data)
            self._moved.set()

    async def write(self) -> None:
        """Delivers what is due, and at last that the sender has finished."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                await self._move()
            due, data = self._waiting.popleft()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            await self._deliver(memoryview(data))
        await self._way.open.wait()
        if not self._mapping.forgotten:
            self._ends[1].shutdown(socket.SHUT_WR)

    async def _received(self) -> bytes:
        """Returns what came next; of a forgotten connection nobody on the other side hears that it broke."""
        try:
            return await asyncio.get_running_loop().sock_recv(self._ends[0], READ_BYTES)
        except OSError:
            if self._mapping.forgotten:
                return b""
            raise

    async def _deliver(self, data: memoryview) -> None:
        loop = asyncio.get_running_loop()
        while data:
            part = data[: self._way.slice_bytes]
            await self._way.carry(len(part))
            await loop.sock_sendall(self._ends[1], part)
            data = data[len(part) :]
            self.delivered += len(part)
            self._size -= len(part)
            self._moved.set()

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _spoilt(self, data: bytes) -> bytes:
        """Returns `data` with a bit flipped in the share of its bytes that the way says."""
        share = self._way.flips
        if not share or not data:
            return data
        chance = self._flip_rng.random(len(data))  # one draw a byte, however the bytes come in
        hit = chance < share
        bit = (chance[hit] / share * 8).astype(np.uint8)
        spoilt = np.frombuffer(data, dtype=np.uint8).copy()
        spoilt[hit] ^= np.left_shift(np.uint8(1), bit)
        self.flipped += int(hit.sum())
        return spoilt.tobytes()


class _Connection:
    """A client, the server's end for it, and the task that carries between the two."""

    def __init__(self, client: socket.socket, number: int) -> None:
        self.client = client
        self.number = number
        self.server = _plain_socket()
        self.pipes: tuple[_Pipe, ...] = ()
        self.task: asyncio.Task[None] | None = None
        self._resets = False

    async def run(self, target: tuple[str, int], net: Net, seed: int) -> None:
        """Carries both ways until both have finished, or either end is broken: then both are."""
        loop = asyncio.get_running_loop()
        mapping = Mapping(net.nat, loop.time())
        ends = (self.client, self.server)
        up = _Pipe(net.up, ends, (seed, self.number, 0), mapping)
        down = _Pipe(net.down, ends[::-1], (seed, self.number, 1), mapping)
        self.pipes = (up, down)
        try:
            if net.far:  # the kernel let the client in at once: it is heard when it would have been
                await asyncio.sleep(net.up.delay_s + net.down.delay_s)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(up.read())
                if net.far:  # the client's last word of the handshake is on its way
                    await asyncio.sleep(net.up.delay_s)
                await loop.sock_connect(self.server, target)
                for work in (up.write(), down.read(), down.write()):
                    tasks.create_task(work)
        except* OSError:
            self._resets = True

    async def end(self, resets: bool) -> None:
        """Ends both sides at once: with a reset, or as if both had closed."""
        self._resets = resets
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    def close(self) -> None:
        """Closes both sockets, once the task is over (which may never have begun)."""
        for end in (self.client, self.server):
            if self._resets:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class Relay:
    """All connections of one proxy, and the door that lets them in."""

    def __init__(self, target: tuple[str, int], seed: int, reserved: socket.socket, far: bool) -> None:
        """Lets nobody in yet.

        Args:
            target: where everything goes.
            seed: of jitter and flipped bits.
            reserved: a socket bound to the proxy's address, which keeps its port while the door is shut.
            far: delays act on a connection's own handshake, too.
        """
        self.counts = Counts()
        self._target = target
        self._seed = seed
        self._address: tuple[str, int] = reserved.getsockname()
        self._net = Net(far=far)
        self._connections: set[_Connection] = set()
        self._door: asyncio.Task[None] | None = None
        self._schedules: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Relay {self._net!r} connections={len(self._connections)}>"

    async def change(self, change: Change) -> None:
        """Carries out a change; it is in effect when this returns."""
        async with self._turn:  # a door that is being shut cannot be opened in between
            self.counts.faults[change.fault] += 1
            healed_by_reset = change.fault is NetFault.SWALLOW and change.reset
            if healed_by_reset or change.fault in MOMENTARY:
                await self._end_all(resets=change.fault is not NetFault.CLOSE)
            if change.fault is NetFault.REFUSE:
                await (self._shut() if change.value else self.open())
            self._net.change(change)

    async def play(self, schedule: Schedule) -> None:
        """Begins to carry out a schedule."""
        task = asyncio.create_task(self._play(schedule))
        self._schedules.add(task)
        task.add_done_callback(self._schedules.discard)

    async def open(self) -> None:
        """Lets clients in."""
        if self._door is None:
            door = _plain_socket()
            door.bind(self._address)
            door.listen(BACKLOG)
            self._door = asyncio.create_task(self._let_in(door))
            self._door.add_done_callback(lambda _: door.close())

    async def close(self) -> None:
        """Ends everything."""
        for task in tuple(self._schedules):
            task.cancel()
            await asyncio.wait([task])
        await self._shut()
        await self._end_all(resets=False)

    def snapshot(self) -> Counts:
        """Returns the counts as they are now, those of open connections included."""
        now, was = Counts(self.counts.connections, faults=Counter(self.counts.faults)), self.counts
        now.up_bytes, now.down_bytes, now.flipped = was.up_bytes, was.down_bytes, was.flipped
        now.forgotten = was.forgotten
        for connection in self._connections:
            _add(now, connection)
        return now

    async def _play(self, schedule: Schedule) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at_s, change in schedule.changes:
            await asyncio.sleep(max(0.0, began + at_s - loop.time()))
            await self.change(change)

    async def _let_in(self, door: socket.socket) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(door)
            self._begin(client)

    def _begin(self, client: socket.socket) -> None:
        _tune(client)
        self.counts.connections += 1
        connection = _Connection(client, self.counts.connections)
        self._connections.add(connection)
        connection.task = asyncio.create_task(connection.run(self._target, self._net, self._seed))
        connection.task.add_done_callback(lambda _: self._ended(connection))

    def _ended(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        connection.close()
        _add(self.counts, connection)

    async def _shut(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.cancel()
            await asyncio.wait([door])

    async def _end_all(self, resets: bool) -> None:
        for connection in tuple(self._connections):
            await connection.end(resets)


def _add(counts: Counts, connection: _Connection) -> None:
    pipes = connection.pipes
    if pipes:
        counts.up_bytes += pipes[0].delivered
        counts.down_bytes += pipes[1].delivered
        counts.flipped += sum(pipe.flipped for pipe in pipes)
        counts.forgotten += pipes[0].forgotten


def _plain_socket() -> socket.socket:
    """Returns a TCP socket for the loop, whose port may be bound again at once."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Small, or the kernel would hold seconds of a slow link; set before connecting, as it must be.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    _tune(made)
    return made


def _tune(made: socket.socket) -> None:
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
