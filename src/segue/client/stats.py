"""What a run came to, counted tick by tick: the numbers of `summary.json`.

The same object counts in the control process and under the virtual clock, so
that a rehearsal and the real thing are judged by one ruler. It is told each
`Tick` and each answer; it reads no clock, writes no file, and its memory does
not grow with the length of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from segue.client.samples import Samples
from segue.client.seam import SeamJerk
from segue.core.facts import ChunkDropped, ChunkTaken, Event, LevelChanged, RequestMissed, Tick
from segue.core.types import FloatArray
from segue.core.watchdog import SafetyLevel

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

Summary = dict[str, object]


@dataclass(frozen=True, slots=True)
class Exchange:
    """How long one answered request took, and where.

    Attributes:
        inference_ns: in the policy, as the server says.
        network_ns: the call less what the server took in all.
        overhead_ns: requesting tick to chunk in the inbox, less the inference.
        observation_bytes: size of the request as it was sent.
    """

    inference_ns: int
    network_ns: int
    overhead_ns: int
    observation_bytes: int


@dataclass(slots=True)
class Counts:
    """What is simply counted, under the names of the summary."""

    ticks: int = 0
    dropped_ticks: int = 0
    starved_ticks: int = 0
    waiting_ticks: int = 0
    held_ticks: int = 0
    chunks: int = 0
    skipped_steps: int = 0
    dropped_chunks: int = 0
    missed_requests: int = 0
    level_changes: int = 0


class RunStats:
    """The statistics of one run."""

    def __init__(self, joints: Sequence[str], control_hz: float) -> None:
        """Starts at zero; `joints` name the dimensions of an action, in order."""
        self.counts = Counts()
        self._joints = tuple(joints)
        self._control_hz = control_hz
        self._jerk = SeamJerk()
        self._lateness_ms = Samples()
        self._samples = {name: Samples() for name in _PERCENTILES}
        self._most_moved = np.zeros(len(self._joints))
        self._last_command: FloatArray | None = None
        self._first_ns: int | None = None
        self._last_ns = 0

    def __repr__(self) -> str:
        return f"<RunStats ticks={self.counts.ticks} chunks={self.counts.chunks}>"

    def add(self, tick: Tick, now_ns: int) -> None:
        """Counts one tick, made at `now_ns`."""
        counts = self.counts
        counts.ticks += 1
        counts.starved_ticks += tick.level is SafetyLevel.STARVED
        counts.held_ticks += tick.level >= SafetyLevel.HOLD
        counts.waiting_ticks += tick.waiting and tick.level <= SafetyLevel.DEGRADED
        self._first_ns = now_ns if self._first_ns is None else self._first_ns
        self._last_ns = now_ns
        if self._last_command is not None:
            np.maximum(self._most_moved, np.abs(tick.action - self._last_command), out=self._most_moved)
        self._last_command = tick.action
        for event in tick.events:
            self._add_event(event)
        if tick.began is not None:
            self._jerk.began(tick.began)

    def add_lateness(self, lateness_ns: int, dropped_ticks: int) -> None:
        """Counts how late a tick began, and how many were dropped to catch up."""
        self._lateness_ms.add(lateness_ns / NS_PER_MS)
        self.counts.dropped_ticks += dropped_ticks

    def add_exchange(self, exchange: Exchange) -> None:
        """Counts one answered request; leave cold ones out, they say nothing about the next."""
        samples = self._samples
        samples["inference_ms"].add(exchange.inference_ns / NS_PER_MS)
        samples["network_ms"].add(exchange.network_ns / NS_PER_MS)
        samples["overhead_ms"].add(exchange.overhead_ns / NS_PER_MS)
        samples["observation_bytes"].add(exchange.observation_bytes)

    def add_robot(self, duration_ns: int) -> None:
        """Counts how long reading and writing the robot took in one tick."""
        self._samples["robot_ms"].add(duration_ns / NS_PER_MS)

    def summary(self, exit_reason: str, robot: Mapping[str, int] | None = None) -> Summary:
        """Returns the numbers of the run, ready for JSON; what was never measured is None.

        Args:
            exit_reason: why the run ended.
            robot: what the robot counted itself, such as ``cubes_offered`` and ``successes``.
        """
        result: Summary = {"cubes_offered": None, "successes": None}
        result.update(robot or {})
        result.update(asdict(self.counts))
        result["tick_hz"] = self._tick_hz()
        for name, percents in _PERCENTILES.items():
            result[name] = _percentiles(self._samples[name], percents)
        lateness = _percentiles(self._lateness_ms, (50, 99))
        lateness["max"] = _rounded(self._lateness_ms.largest if self._lateness_ms.seen else None)
        result["tick_lateness_ms"] = lateness
        speeds = self._most_moved * self._control_hz
        result["max_command_speed"] = {
            j: _rounded(float(v)) for j, v in zip(self._joints, speeds, strict=True)
        }
        result["seam_jerk"] = _rounded(self._jerk.p95())
        result["exit_reason"] = exit_reason
        return result

    def _add_event(self, event: Event) -> None:
        counts = self.counts
        match event:
            case ChunkTaken():
                counts.chunks += 1
                counts.skipped_steps += event.merged.skipped
                self._jerk.merged(event.chunk.start_step + event.merged.skipped)
                self._add_delay(event)
            case ChunkDropped():
                counts.dropped_chunks += 1
            case RequestMissed():
                counts.missed_requests += 1
            case LevelChanged():
                counts.level_changes += 1
                if event.change.after >= SafetyLevel.HOLD:
                    self._jerk.interrupted()

    def _add_delay(self, event: ChunkTaken) -> None:
        if event.delay_steps is not None:
            self._samples["delay_steps"].add(event.delay_steps)
            self._samples["round_trip_ms"].add(event.round_trip_ns / NS_PER_MS)

    def _tick_hz(self) -> float | None:
        if self._first_ns is None or self._last_ns == self._first_ns:
            return None
        return _rounded((self.counts.ticks - 1) * NS_PER_S / (self._last_ns - self._first_ns))


_PERCENTILES: Mapping[str, tuple[int, ...]] = {
    "delay_steps": (50, 95, 99),
    "round_trip_ms": (50, 95, 99),
    "inference_ms": (50, 95, 99),
    "network_ms": (50, 95, 99),
    "overhead_ms": (50, 95, 99),
    "observation_bytes": (50,),
    "robot_ms": (50, 99),
}


def _percentiles(samples: Samples, percents: Sequence[int]) -> dict[str, float | None]:
    return {f"p{p}": _rounded(samples.percentile(p)) for p in percents}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
