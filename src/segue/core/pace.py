"""What is known of the time that answers take, and what follows from it.

One object learns from every answer: the forecast, how long the next one is
waited for, how old an action may be. The oldest that it may ever be is pinned
when the first session opens; no answer and no later handshake moves that. An
answer that was refused for its age alone teaches as much as one that was taken:
otherwise a policy slower than it said would never be met.
"""

from __future__ import annotations

from segue.core.delay import DelayForecast
from segue.core.facts import ExecutorConfig, SessionOpened
from segue.core.feasibility import NS_PER_S, age_ceiling_ns
from segue.core.outlook import Outlook, OutlookChanged, Standing

AGE_FLAG = "--safety.max_action_age_s"


class Pace:
    """How fast one robot is answered."""

    def __init__(self, config: ExecutorConfig) -> None:
        """Knows nothing yet."""
        self.forecast = DelayForecast(config.action_hz, config.control_hz)
        self.outlook = Outlook(config.rule, config.action_hz, config.blend is not None)
        self.ceiling_ns: int | None = config.safety.max_action_age_ns
        self.after_handshake = True
        self._config = config
        self._expected_ns = 0
        self._hopeless_ns: int | None = None

    def __repr__(self) -> str:
        return f"<Pace {self.forecast!r}>"

    @property
    def age_limit_ns(self) -> int:
        """The oldest an action may be when it begins."""
        config = self._config
        limit_ns = config.safety.action_age_limit_ns(
            config.rule.horizon, config.action_hz, self.forecast.time_ns
        )
        return limit_ns if self.ceiling_ns is None else min(limit_ns, self.ceiling_ns)

    def opened(self, session: SessionOpened) -> None:
        """Takes what the handshake said; the first one pins the ceiling."""
        config, first = self._config, self._expected_ns == 0
        self.after_handshake = True
        self._expected_ns = max(1, session.round_trip_ns + session.warm_inference_ns)
        self.forecast.declare(session.round_trip_ns, session.warm_inference_ns)
        if not first:
            return
        if self.ceiling_ns is None:
            self.ceiling_ns = age_ceiling_ns(config.rule.horizon, config.action_hz, session.warm_inference_ns)
        self.outlook.begin(self.forecast.steps, self.ceiling_ns)

    def deadline_ns(self, overdue: int) -> int:
        """Returns how long the next answer is waited for.

        Args:
            overdue: deadlines that passed since the forecast last learnt anything.
        """
        safety, limit_ns = self._config.safety, self.age_limit_ns
        ceiling_ns = limit_ns if self.ceiling_ns is None else self.ceiling_ns
        if self.after_handshake:
            return safety.first_deadline_ns(self._expected_ns, ceiling_ns, overdue)
        return safety.request_deadline_ns(self.forecast.time_ns, limit_ns, overdue, ceiling_ns)

    def taken(self, round_trip_ns: int, cold: bool) -> int | None:
        """Learns from an answer that is used.

        Args:
            round_trip_ns: requesting tick to this tick.
            cold: its duration says nothing about the next.

        Returns:
            The delay in steps; None when cold.
        """
        self.after_handshake, self._hopeless_ns = False, None
        return None if cold else self.forecast.observe(round_trip_ns)

    def refused(self, round_trip_ns: int, cold: bool, perhaps_cold: bool) -> int | None:
        """Learns from an answer that was refused for its age, and for nothing else.

        Args:
            round_trip_ns: requesting tick to this tick.
            cold: the server says that its duration says nothing about the next.
            perhaps_cold: it was the first after a handshake: believed until the next one.

        Returns:
            The delay in steps; None when nothing was learnt for good.
        """
        self.after_handshake = False
        if cold:
            return None
        if perhaps_cold:
            self.forecast.suspect(round_trip_ns)
            return None
        if self.ceiling_ns is not None and round_trip_ns > self.ceiling_ns:
            self._hopeless_ns = round_trip_ns
        return self.forecast.observe(round_trip_ns)

    def changed(self, delay_steps: int, now_ns: int) -> OutlookChanged | None:
        """Returns what a delay that was just learnt changes for the plan, if that is to be said."""
        hopeless = self._hopeless_ns is not None
        return self.outlook.note(delay_steps, self.forecast.steps, now_ns, useless=hopeless)

    def hopeless(self) -> str:
        """Returns, in words, that no answer comes in time to be used; empty while one may."""
        return "" if self._hopeless_ns is None else self._words(self._hopeless_ns)

    def too_old(self) -> str:
        """Returns, in words, why actions get too old although answers come; empty where they need not."""
        steps = self.forecast.steps
        if self._hopeless_ns is None and self.outlook.of(steps) is not Standing.TOO_OLD:
            return ""
        return self._words(self._hopeless_ns or self.forecast.time_ns)

    def _words(self, round_trip_ns: int) -> str:
        oldest_ns = self.outlook.oldest_ns(self.forecast.steps_of(round_trip_ns))
        return (
            f"an answer takes {round_trip_ns / NS_PER_S:.2f} s, with which actions get "
            f"{oldest_ns / NS_PER_S:.2f} s old, and none may be older than "
            f"{(self.ceiling_ns or 0) / NS_PER_S:.2f} s ({AGE_FLAG})"
        )
