"""Whether each servo still does what it was told: one is asked in each tick, in turn.

A servo that was without power for a moment comes back limp, or stiff with a
goal of its own choice, and its acceleration is back at the factory's value; it
must not be driven on as if nothing had been. A goal that was lost on the way is
mended by the next one, so a servo that has one of the last 20 goals is counted
as late and let go on. One that has, twice in a row, a goal that nobody sent it
is a fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

from segue.errors import RobotFault
from segue.robots.feetech import ServoBus
from segue.robots.packets import StatusPacket
from segue.robots.so101_health import Health
from segue.robots.so101_setup import ACCELERATION
from segue.robots.sts3215 import ACCELERATION as ACCELERATION_REGISTER
from segue.robots.sts3215 import GOAL_POSITION, TORQUE_ENABLE

_BLOCK = TORQUE_ENABLE.address
_BLOCK_BYTES = GOAL_POSITION.address + GOAL_POSITION.size - _BLOCK
_STRAYS_ALLOWED = 1
# At 100 Hz half a second.
_UNHEARD_LIMIT = 50
_GOALS_KEPT = 20


class LookBack:
    """Asks one servo after the other for torque and goal, and who was mute before all others."""

    def __init__(self, health: Health, servos: Sequence[int], sent: Mapping[int, int]) -> None:
        """Takes the servos and the goals that they were sent; without goals nothing is asked."""
        self.servos = list(servos)
        self._sent: deque[Mapping[int, int]] = deque([sent] if sent else [], maxlen=_GOALS_KEPT)
        self.lost_goals = 0
        self._health = health
        self._next = 0
        self._strays = dict.fromkeys(servos, 0)
        self._suspects: list[int] = []
        self._unheard = 0

    def __repr__(self) -> str:
        return f"<LookBack next={self.servos[self._next]} lost_goals={self.lost_goals}>"

    def note_sent(self, goals: Mapping[int, int]) -> None:
        """Takes the goals that were sent now, by servo; who is missing keeps the one before."""
        self._sent.append({**self._sent[-1], **goals} if self._sent else goals)

    def look(self, bus: ServoBus, deadline_ns: int) -> None:
        """Asks the next servo; one that does not answer is asked again when its turn comes.

        Before any goal was sent nobody is asked.

        Raises:
            RobotFault: it lost its torque or its power, or does not take its goals.
        """
        if not self._sent:
            return
        asked = list(self._suspects) or [self._in_turn()]
        answers = bus.sync_read(asked, _BLOCK, _BLOCK_BYTES, deadline_ns)
        self._count_unheard(not answers)
        for servo, answer in answers.items():
            self._judge(servo, answer)

    def _judge(self, servo: int, answer: StatusPacket) -> None:
        torque, acceleration, goal = (
            register.decode(answer.data[register.address - _BLOCK :])
            for register in (TORQUE_ENABLE, ACCELERATION_REGISTER, GOAL_POSITION)
        )
        if torque != 1 or acceleration != ACCELERATION:
            lost = "its torque" if torque != 1 else "its power for a moment"
            raise RobotFault(
                f"{self._health.name(servo)} has lost {lost}; support the arm, look at its cable"
            )
        self._suspects = [each for each in self._suspects if each != servo]
        self._compare(servo, goal)

    def suspect(self, servos: Collection[int]) -> None:
        """Notes who stayed mute, maybe without power: it is told nothing before it was looked at."""
        self._suspects += [servo for servo in servos if servo not in self._suspects]

    def trusted(self, goals: Mapping[int, int]) -> dict[int, int]:
        """Returns the goals of those that are not suspect."""
        return {servo: goal for servo, goal in goals.items() if servo not in self._suspects}

    def _in_turn(self) -> int:
        servo = self.servos[self._next]
        self._next = (self._next + 1) % len(self.servos)
        return servo

    def _count_unheard(self, unheard: bool) -> None:
        self._unheard = self._unheard + 1 if unheard else 0
        if self._unheard >= _UNHEARD_LIMIT:
            raise RobotFault(
                f"in {self._unheard} ticks no time was left to look whether the servos have torque: the USB "
                "adapter answers too slowly; set its latency_timer to 1 ms, or lower --control_hz"
            )

    def _compare(self, servo: int, goal: int) -> None:
        newest = self._sent[-1][servo]
        self.lost_goals += goal != newest
        if any(goals[servo] == goal for goals in self._sent):
            self._strays[servo] = 0
            return
        self._strays[servo] += 1
        if self._strays[servo] > _STRAYS_ALLOWED:
            name = self._health.name(servo)
            raise RobotFault(f"{name} does not take its goals: it has {goal}, was sent {newest}")
