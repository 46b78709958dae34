"""Who may ask: admission, the table of sessions, and every request held against its own session.

Pure: no thread, clock or socket; the caller passes `now_ns` and keeps calls
one after another. In order of use:

    sessions = Sessions(SessionLimits(max_robots=16), new_id=..., facts={})
    welcome = sessions.open(handshake, policy_spec, now_ns)
    session = sessions.admit(context, request, now_ns)    # for each request, pictures left out
    slack_ns = sessions.clamp_slack(request.slack_ns)     # goes into the batcher's job

A session says which robot's names and units a number belongs to; it holds no
plan and no past, so losing one costs a robot nothing but another handshake. A
place is taken from a robot only when another wants it and the first has been
silent for `idle_ns`, or has opened and then never asked for `unused_ns`: who
opens sessions for their own sake gets little for it. Each call raises `Refused` or `RemoteProtocolError`
instead of returning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from segue.clock import NS_PER_S
from segue.core.specs import PolicySpec, RobotSpec, differences, guidance_difference
from segue.core.types import ChunkRequest
from segue.server.rate import Rate
from segue.server.refused import Refused
from segue.server.requests import check_guidance, check_request
from segue.wire.records import Handshake, RequestContext, Welcome
from segue.wire.refusal import Reason
from segue.wire.version import SUPPORTED_VERSIONS

# Far more than any robot asks: forty times 5 Hz.
REQUESTS = Rate(per_s=200.0, burst=50)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How many sessions there may be, and how much they may claim.

    Attributes:
        idle_ns: silence after which a session yields its place to a newcomer.
        unused_ns: the same for a session that was opened and never asked anything.
        requests: how often one session may ask; a robot asks a few times a second.
        max_slack_ns: the most time left that a request may claim; nobody can sink below all others for ever.
    """

    max_robots: int = 16
    idle_ns: int = 10 * NS_PER_S
    max_slack_ns: int = 10 * NS_PER_S
    unused_ns: int = 2 * NS_PER_S
    requests: Rate = REQUESTS


@dataclass(slots=True)
class Session:
    """One robot that was let in, with the policy that it was let in for."""

    session_id: str
    robot_id: str
    robot: RobotSpec
    policy: PolicySpec
    spec_hash: str
    last_seen_ns: int
    used: bool = False
    requests_full_ns: int = 0


class Sessions:
    """The table of sessions."""

    def __init__(
        self, limits: SessionLimits, new_id: Callable[[], str], facts: Mapping[str, str] | None = None
    ) -> None:
        """Starts empty.

        Args:
            limits: see there.
            new_id: returns an id that nobody can guess and that was never returned before.
            facts: the server's own configuration, echoed to every robot.
        """
        self._limits = limits
        self._new_id = new_id
        self._facts = dict(facts or {})
        self._table: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<Sessions {len(self._table)} of {self._limits.max_robots}>"

    def open(self, handshake: Handshake, policy: PolicySpec, now_ns: int) -> Welcome:
        """Lets a robot in.

        Args:
            handshake: what the robot says of itself.
            policy: the spec of the policy that it asked for.
            now_ns: monotonic time of this host.

        Raises:
            Refused: the two do not fit (every difference is listed), or all places are taken.
            RemoteProtocolError: the guidance wished for is out of range.
        """
        found = differences(handshake.robot, policy)
        missing = guidance_difference(handshake.guidance, policy)
        if missing is not None:
            found.append(missing)
        if found:
            raise Refused(Reason.MISMATCH, "; ".join(found), found)
        check_guidance(handshake.guidance, policy)
        self._table.pop(handshake.previous_session_id, None)
        self._make_room(now_ns)
        session = Session(
            session_id=self._new_id(),
            robot_id=handshake.robot_id,
            robot=handshake.robot,
            policy=policy,
            spec_hash=policy.spec_hash(),
            last_seen_ns=now_ns,
        )
        self._table[session.session_id] = session
        return Welcome(
            session_id=session.session_id,
            policy=policy,
            spec_hash=session.spec_hash,
            configuration={**self._facts, **_resolved(handshake, policy)},
        )

    def admit(self, context: RequestContext, request: ChunkRequest, now_ns: int) -> Session:
        """Returns the session of a request that fits it.

        Args:
            context: as it came with the request.
            request: pictures are not looked at.
            now_ns: monotonic time of this host.

        Raises:
            Refused: the session is not known here, or was opened for another policy.
            RemoteProtocolError: a field is wrong; the text names it, and the joint.
        """
        session = self._table.get(context.session_id)
        if session is None:
            raise Refused(Reason.UNKNOWN_SESSION, "this server does not know the session: open one first")
        if context.spec_hash != session.spec_hash:
            raise Refused(Reason.SPEC_CHANGED, "spec_hash is not that of the session's policy: open again")
        self._count(session, now_ns)
        session.last_seen_ns, session.used = now_ns, True
        check_request(request, context, session.robot, session.policy)
        return session

    def clamp_slack(self, slack_ns: int) -> int:
        """Returns the time left that the server believes, 0 to the limit."""
        return min(max(slack_ns, 0), self._limits.max_slack_ns)

    def close(self, session_id: str) -> None:
        """Forgets a session; an unknown one is no error."""
        self._table.pop(session_id, None)

    def _make_room(self, now_ns: int) -> None:
        if len(self._table) < self._limits.max_robots:
            return
        first = min(self._table.values(), key=self._yields_ns)
        if now_ns < self._yields_ns(first):
            raise Refused(Reason.FULL, _full(self._limits.max_robots))
        del self._table[first.session_id]

    def _yields_ns(self, session: Session) -> int:
        """Returns from when on a session's place may be taken."""
        limits = self._limits
        return session.last_seen_ns + (limits.idle_ns if session.used else limits.unused_ns)

    def _count(self, session: Session, now_ns: int) -> None:
        rate = self._limits.requests
        full_ns = rate.taken(session.requests_full_ns, now_ns)
        if full_ns is None:
            raise Refused(Reason.FULL, f"more than {rate.per_s:g} requests a second from this robot")
        session.requests_full_ns = full_ns


def _full(places: int) -> str:
    return f"all places for robots are taken ({places}); the server's --max_robots says how many there are"


def check_version(version: int) -> None:
    """Refuses a protocol version that this server does not speak.

    Raises:
        Refused: it does not; the text and the refusal list those that it does.
    """
    if version not in SUPPORTED_VERSIONS:
        spoken = ", ".join(str(v) for v in SUPPORTED_VERSIONS)
        raise Refused(Reason.VERSION, f"protocol_version: client speaks {version}, server speaks {spoken}")


def _resolved(handshake: Handshake, policy: PolicySpec) -> dict[str, str]:
    guidance = handshake.guidance
    chunk_length = min(handshake.chunk_length or policy.horizon, policy.horizon)
    return {
        "policy": policy.name,
        "chunk_length": str(chunk_length),
        "strategy": guidance.strategy.value,
        "mode": guidance.mode.value,
        "schedule": guidance.schedule.value,
        "prefix_end": str(guidance.prefix_end or chunk_length),
        "max_weight": f"{guidance.max_weight:g}",
        "jacobian": guidance.jacobian.value,
    }
