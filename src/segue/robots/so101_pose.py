"""Where the arm is, asked once a tick, and whether an answer is to be believed.

A packet carries no number. One that comes late could pass for the answer to a
later question, and an old pose for the present one; so questions of neighbouring
ticks ask for different lengths, and an answer of another length is nobody's.
While a servo is mute no length is used twice, and when all are used up nothing
is asked any more: a line that is late all the time ends in silence, and not in
old poses. A checksum of eight bits lets noise through now and then; no joint is
faster than its motor, so a position that would be is not believed either.

What silence means is the arm's to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segue.clock import NS_PER_S
from segue.robots.feetech import ServoBus
from segue.robots.packets import StatusPacket
from segue.robots.so101_health import BLOCK, BLOCK_BYTES, ORDERS, ORDERS_BYTES, WHOLE_BYTES, in_block
from segue.robots.sts3215 import COUNTS_PER_TURN, PRESENT_POSITION

# Bytes beyond the block: so many kinds of question while all is well, and so many in all. The last
# ends with the last register of the servo's table.
_WELL = 3
_MOST = 20
# A little more than a motor without a load, and what a late look or play in the gears may add.
_FASTEST_COUNTS_S = 400 / 360 * COUNTS_PER_TURN
PLAY_COUNTS = 15 / 360 * COUNTS_PER_TURN


class Pose:
    """The newest pose that is believed."""

    def __init__(self, counts: Mapping[int, int], now_ns: int) -> None:
        """Begins with a known pose, counts by servo."""
        self.counts = dict(counts)
        self.seen_ns = now_ns
        self.mute: list[int] = []
        self.orders: dict[int, bytes] = {}
        self.mute_since_ns: int | None = None
        self.missed_ticks = 0
        self._surplus = 0

    def __repr__(self) -> str:
        return f"<Pose {self.counts} mute={self.mute}>"

    @property
    def servos(self) -> Sequence[int]:
        """All servos, in order."""
        return list(self.counts)

    def ask(self, bus: ServoBus, now_ns: int, deadline_ns: int, whole: bool) -> dict[int, StatusPacket]:
        """Asks all servos, and takes their pose if all of them tell one that can be.

        Args:
            bus: of the arm.
            now_ns: the present time, which becomes that of the pose.
            deadline_ns: when to give up.
            whole: asks for what they were told, too, which is in `orders` then.

        Returns:
            every answer; who is in `mute` afterwards told no pose that is believed.

        Raises:
            RobotFault: the port is gone.
        """
        surplus, self.orders = self._next_surplus(), {}
        if surplus >= _MOST:
            self.missed_ticks += 1
            return {}
        if whole:
            answers = self._cut(bus.sync_read(self.servos, ORDERS, WHOLE_BYTES + surplus, deadline_ns))
        else:
            answers = bus.sync_read(self.servos, BLOCK, BLOCK_BYTES + surplus, deadline_ns)
        told = {servo: in_block(answer, PRESENT_POSITION) for servo, answer in answers.items()}
        reach = PLAY_COUNTS + _FASTEST_COUNTS_S * (now_ns - self.seen_ns) / NS_PER_S
        believed = {s: at for s, at in told.items() if abs(at - self.counts[s]) <= reach}
        self.mute = [servo for servo in self.counts if servo not in believed]
        if self.mute:
            self.missed_ticks += 1
            # From the first question without an answer: a pause of ours is no silence of theirs.
            self.mute_since_ns = now_ns if self.mute_since_ns is None else self.mute_since_ns
        else:
            self.counts = {servo: believed[servo] for servo in self.counts}
            self.seen_ns, self.mute_since_ns = now_ns, None
        return answers

    def silent_ns(self, now_ns: int) -> int:
        """Returns for how long there has been no pose."""
        return 0 if self.mute_since_ns is None else now_ns - self.mute_since_ns

    def _cut(self, answers: Mapping[int, StatusPacket]) -> dict[int, StatusPacket]:
        """Returns the part of answers for everything that those for the block have."""
        self.orders = {servo: answer.data[:ORDERS_BYTES] for servo, answer in answers.items()}
        return {s: StatusPacket(s, each.error, each.data[BLOCK - ORDERS :]) for s, each in answers.items()}

    def _next_surplus(self) -> int:
        well = self.mute_since_ns is None
        self._surplus = (self._surplus + 1) % _WELL if well else max(self._surplus + 1, _WELL)
        return self._surplus
