"""Whether each servo still does what it was told: one is asked in each tick, in turn.

A servo that was without power for a moment comes back limp, or stiff with a
goal of its own choice, and its acceleration is back at the factory's value; it
must not be driven on as if nothing had been. A goal that was lost on the way is
mended by the next one, so a servo that has one of the last 20 goals is counted
as late and let go on, from the goal that it has. One that has, twice in a row,
a goal that nobody sent it is a fault.

Where the adapter is slow all servos are asked for that with their pose, in one
question.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from segue.errors import RobotFault
from segue.robots.feetech import ServoBus
from segue.robots.so101_health import ORDERS, ORDERS_BYTES, Health
from segue.robots.so101_setup import ACCELERATION
from segue.robots.sts3215 import ACCELERATION as ACCELERATION_REGISTER
from segue.robots.sts3215 import GOAL_POSITION, TORQUE_ENABLE

Witness = Callable[[Collection[int]], Collection[int]]

_STRAYS_ALLOWED = 1
# At 100 Hz a tenth of a second.
_UNHEARD_LIMIT = 10
_GOALS_KEPT = 20


class LookBack:
    """Asks one servo after the other for torque and goal, and who was mute before all others.

    Attributes:
        told: the servos were sent goals; without any nothing is asked.
        lost_goals: how often one was found to have an older one.
    """

    def __init__(self, health: Health, servos: Sequence[int], sent: Mapping[int, int]) -> None:
        """Takes the servos and the goals that they were sent, counts by servo; none in a dry run."""
        self.servos = list(servos)
        self.told = bool(sent)
        self._sent = {servo: deque([goal], maxlen=_GOALS_KEPT) for servo, goal in sent.items()}
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
        for servo, goal in goals.items():
            self._sent[servo].append(goal)

    def look(self, bus: ServoBus, deadline_ns: int, witness: Witness = lambda asked: ()) -> dict[int, int]:
        """Asks the next servo; one that does not answer is asked again when its turn comes.

        Before any goal was sent nobody is asked.

        Args:
            bus: of the servos.
            deadline_ns: when to give up.
            witness: returns whom to ask besides.

        Returns:
            as for `heed`; empty where nobody answered.

        Raises:
            RobotFault: it lost its torque or its power, or does not take its goals.
        """
        if not self.told:
            return {}
        asked = list(self._suspects) or [self._in_turn()]
        asked += witness(asked)
        answers = bus.sync_read(asked, ORDERS, ORDERS_BYTES, deadline_ns)
        self._unheard = 0 if answers else self._unheard + 1
        return self.heed({servo: answer.data for servo, answer in answers.items()})

    def heed(self, orders: Mapping[int, bytes]) -> dict[int, int]:
        """Takes what servos say of torque, acceleration and goal.

        Returns:
            the goals that those servos have, counts; not those that nobody sent.

        Raises:
            RobotFault: one lost its torque or its power, or does not take its goals.
        """
        found = {}
        for servo, data in orders.items() if self.told else ():
            torque, acceleration, goal = (
                register.decode(data[register.address - ORDERS :])
                for register in (TORQUE_ENABLE, ACCELERATION_REGISTER, GOAL_POSITION)
            )
            if torque != 1 or acceleration != ACCELERATION:
                lost = "its torque" if torque != 1 else "its power for a moment"
                raise RobotFault(
                    f"{self._health.name(servo)} has lost {lost}; support the arm, look at its cable"
                )
            if self._was_sent(servo, goal):
                self._suspects = [each for each in self._suspects if each != servo]
                found[servo] = goal
        return found

    @property
    def starved(self) -> bool:
        """Whether for a while no time was left to look, so that another way has to be found."""
        return self._unheard >= _UNHEARD_LIMIT

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

    def _was_sent(self, servo: int, goal: int) -> bool:
        """Returns whether `servo` was sent that goal lately; one that was not may be noise, once."""
        sent = self._sent[servo]
        newest = sent[-1]
        self.lost_goals += goal != newest
        if goal in sent:
            self._strays[servo] = 0
            return True
        self._strays[servo] += 1
        if self._strays[servo] > _STRAYS_ALLOWED:
            name = self._health.name(servo)
            raise RobotFault(f"{name} does not take its goals: it has {goal}, was sent {newest}")
        return False
