"""A link's machine with the network in the test's hands, under a clock that is a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from segue.core.link import events as ev
from segue.core.link.dial import LinkRules
from segue.core.link.heard import Heard, Status
from segue.core.link.machine import LinkMachine
from segue.core.link.reports import LinkReport
from segue.core.link.states import LinkState
from segue.core.specs import ActionSpec, Dimension, ObservationSpec, PolicySpec, RobotSpec

MS = 1_000_000
S = 1_000 * MS

JOINTS = (
    Dimension("pan", "deg", low=-90.0, high=90.0, max_speed=180.0),
    Dimension("lift", "deg", low=-90.0, high=90.0, max_speed=180.0),
)
ROBOT = RobotSpec("toy", ObservationSpec(JOINTS), ActionSpec(JOINTS))

E = TypeVar("E")


def policy(joints: tuple[Dimension, ...] = JOINTS, **fields: object) -> PolicySpec:
    """Returns the spec of a policy for the toy robot."""
    made = PolicySpec(
        name="toy",
        observation=ObservationSpec(joints),
        action=ActionSpec(joints),
        action_hz=30.0,
        horizon=50,
        model_action_dim=2,
        history_steps=0,
        rtc_modes=("guided",),
        warm_inference_ns=20 * MS,
        policy_hash="cafe",
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def no(status: Status, text: str = "no", reason: str = "") -> Heard:
    """Returns a refusal."""
    return Heard(status, text, reason)


class Driver:
    """Feeds a machine and keeps what it wanted."""

    def __init__(self, **rules: object) -> None:
        self.now_ns = 0
        self.machine = LinkMachine(LinkRules(**rules), ROBOT, lambda: 0.0)  # type: ignore[arg-type]
        self.effects: list[ev.Effect] = []
        self.dialled_ns: list[int] = []
        self.wake_ns: int | None = None

    def feed(self, event: ev.Event) -> list[ev.Effect]:
        new = [each for each in self.machine.on(event, self.now_ns) if not self._noted(each)]
        self.effects += new
        return new

    def _noted(self, effect: ev.Effect) -> bool:
        if isinstance(effect, ev.Connect):
            self.dialled_ns.append(self.now_ns)
        self.wake_ns = effect.at_ns if isinstance(effect, ev.WakeAt) else None
        return isinstance(effect, ev.WakeAt)

    def wait(self, duration_ns: int) -> None:
        """Lets time pass, waking the machine at every date that it names."""
        end_ns = self.now_ns + duration_ns
        while self.wake_ns is not None and self.wake_ns <= end_ns:
            self.now_ns = max(self.now_ns, self.wake_ns)
            self.feed(ev.Woken())
        self.now_ns = end_ns

    @property
    def channel(self) -> int:
        return self.machine.dials

    def begin(self) -> None:
        self.feed(ev.Woken())

    def connect(self, after_ns: int = MS) -> None:
        self.now_ns += after_ns
        self.feed(ev.Connected(self.channel))

    def shake(self, spec: PolicySpec | None = None, trip_ns: int = MS) -> None:
        """Answers a handshake, each call after `trip_ns`."""
        spec = spec or policy()
        while not isinstance(self.last(ev.Open, ev.Describe), ev.Open):
            assert self.machine.state is LinkState.OPENING
            self.now_ns += trip_ns
            self.feed(ev.Described(self.channel, (spec,)))
        self.now_ns += trip_ns
        self.feed(ev.Welcomed(self.channel, f"session-{self.channel}", spec))

    def open(self, spec: PolicySpec | None = None) -> None:
        """Goes all the way to a session."""
        if not self.dialled_ns:
            self.begin()
        self.connect()
        self.shake(spec)

    def ask(self, number: int, within_ns: int = 500 * MS) -> list[ev.Effect]:
        return self.feed(ev.Asked(number, self.now_ns + within_ns))

    def refuse(self, number: int, heard: Heard) -> list[ev.Effect]:
        return self.feed(ev.Unanswered(number, heard))

    def answer(self, number: int, took_ns: int = 30 * MS, served_ns: int = 20 * MS) -> list[ev.Effect]:
        return self.feed(ev.Answered(number, took_ns, served_ns, 100_000))

    def last(self, *kinds: type[ev.Effect]) -> ev.Effect | None:
        return next((each for each in reversed(self.effects) if isinstance(each, kinds)), None)

    def reports(self) -> list[LinkReport]:
        return reports(self.effects)


def reports(effects: Iterable[ev.Effect]) -> list[LinkReport]:
    """Returns what the control loop is told."""
    return [each.message for each in effects if isinstance(each, ev.Report)]


def of_kind(effects: Iterable[ev.Effect], kind: type[E]) -> list[E]:
    """Returns the effects of one kind."""
    return [each for each in effects if isinstance(each, kind)]
