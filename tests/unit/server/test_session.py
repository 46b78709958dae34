"""Admission and the table of sessions, under a clock that the tests move."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from segue.core.specs import ActionSpec, CameraSpec, Dimension, ObservationSpec
from segue.core.types import Guidance, RtcMode, Strategy
from segue.errors import RemoteProtocolError
from segue.server.refused import Refused, Status
from segue.server.session import REQUESTS, SessionLimits, Sessions, check_version
from segue.wire.refusal import Reason
from tests.unit.server.toy_policy import ROBOT, SPEC, context, handshake, request

SECOND = 1_000_000_000


def table(max_robots: int = 2) -> Sessions:
    numbers = itertools.count(1)
    return Sessions(SessionLimits(max_robots), lambda: f"session-{next(numbers)}", {"device": "cpu"})


def test_a_robot_that_fits_is_let_in_and_served() -> None:
    """A handshake that fits gets a session, and a request of that session is admitted."""
    sessions = table()
    welcome = sessions.open(handshake(), SPEC, 0)
    assert welcome.spec_hash == SPEC.spec_hash()
    session = sessions.admit(context(welcome.session_id), request(), 1)
    assert (session.robot_id, session.policy) == ("arm-1", SPEC)


def test_the_resolved_configuration_is_echoed() -> None:
    """What the server made of the wishes comes back, its own facts included."""
    wishes = handshake(guidance=Guidance(prefix_end=4), chunk_length=500)
    echoed = table().open(wishes, SPEC, 0).configuration
    assert echoed["device"] == "cpu"
    assert echoed["chunk_length"] == "8"
    assert echoed["prefix_end"] == "4"
    assert (echoed["strategy"], echoed["schedule"], echoed["jacobian"]) == ("rtc", "exp", "exact")


def test_a_mismatch_lists_every_difference_with_both_sides() -> None:
    """Joints, actions, environment, cameras and guidance that do not fit are named, each with both sides."""
    radians = (Dimension("grip", "rad"), Dimension("pan", "rad"))
    stranger = replace(ROBOT, observation=ObservationSpec(radians), action=ActionSpec(radians))
    policy = replace(
        SPEC, observation=replace(SPEC.observation, cameras=(CameraSpec("wrist"),)), rtc_modes=("trained",)
    )
    with pytest.raises(Refused) as refused:
        table().open(handshake(robot=stranger), policy, 0)
    assert refused.value.status is Status.FAILED_PRECONDITION
    assert refused.value.refusal.reason is Reason.MISMATCH
    kinds = [difference.split(":")[0] for difference in refused.value.refusal.differences]
    assert kinds == ["joints", "actions", "environment state", "cameras", "guidance"]
    for difference in refused.value.refusal.differences:
        assert "robot" in difference
        assert "policy" in difference
        assert difference in str(refused.value)
    joints = refused.value.refusal.differences[0]
    assert "grip [rad, position], pan [rad, position]" in joints
    assert "pan [deg, position], grip [percent, position]" in joints


def test_a_strategy_without_guidance_fits_any_policy() -> None:
    """A robot that does not ask for continuation is let in by a policy that knows none."""
    policy = replace(SPEC, rtc_modes=())
    assert table().open(handshake(guidance=Guidance(Strategy.ASYNC)), policy, 0).session_id
    with pytest.raises(Refused, match="mode trained, policy offers none"):
        table().open(handshake(guidance=Guidance(mode=RtcMode.TRAINED)), policy, 0)


def test_a_window_beyond_the_horizon_is_refused() -> None:
    """A guidance window longer than the policy's horizon is refused at the handshake."""
    with pytest.raises(RemoteProtocolError, match="prefix_end"):
        table().open(handshake(guidance=Guidance(prefix_end=9)), SPEC, 0)


def test_an_unknown_session_is_asked_to_open() -> None:
    """A replica that never saw the handshake refuses, and says that opening helps."""
    with pytest.raises(Refused) as refused:
        table().admit(context("never seen"), request(), 0)
    assert (refused.value.status, refused.value.refusal.reason) == (
        Status.FAILED_PRECONDITION,
        Reason.UNKNOWN_SESSION,
    )


def test_another_spec_hash_is_asked_to_open_again() -> None:
    """A request made for another policy than the session's is refused, and says that opening helps."""
    sessions = table()
    welcome = sessions.open(handshake(), SPEC, 0)
    with pytest.raises(Refused) as refused:
        sessions.admit(context(welcome.session_id, spec_hash="0000"), request(), 0)
    assert refused.value.refusal.reason is Reason.SPEC_CHANGED


def test_a_full_server_refuses_newcomers_and_keeps_the_admitted() -> None:
    """When all places are taken by robots that ask, another is refused and nobody loses a place."""
    sessions = table(max_robots=2)
    admitted = [sessions.open(handshake(), SPEC, 0).session_id for _ in range(2)]
    with pytest.raises(Refused) as refused:
        sessions.open(handshake(), SPEC, 1)
    assert (refused.value.status, refused.value.refusal.reason) == (Status.RESOURCE_EXHAUSTED, Reason.FULL)
    for session_id in admitted:
        sessions.admit(context(session_id), request(), 2)


def test_a_silent_robot_yields_its_place_only_when_it_is_wanted() -> None:
    """A robot silent for ten seconds keeps its session until a newcomer needs the place."""
    sessions = table(max_robots=2)
    silent = sessions.open(handshake(), SPEC, 0).session_id
    sessions.admit(context(silent), request(), 3600 * SECOND)
    busy = sessions.open(handshake(), SPEC, 3600 * SECOND).session_id
    sessions.admit(context(busy), request(), 3609 * SECOND)
    with pytest.raises(Refused, match=r"places for robots are taken \(2\)"):
        sessions.open(handshake(), SPEC, 3609 * SECOND)
    sessions.open(handshake(), SPEC, 3610 * SECOND)
    sessions.admit(context(busy), request(), 3610 * SECOND)
    with pytest.raises(Refused, match="open one first"):
        sessions.admit(context(silent), request(), 3610 * SECOND)
    assert len(sessions) == 2


def test_a_session_that_is_never_used_yields_early() -> None:
    """A session that was opened and asked nothing yields after two seconds; one that asked does not."""
    sessions = table(max_robots=2)
    used = sessions.open(handshake(), SPEC, 0).session_id
    sessions.admit(context(used), request(), 0)
    unused = sessions.open(handshake(), SPEC, 0).session_id
    with pytest.raises(Refused, match=r"places for robots are taken \(2\)"):
        sessions.open(handshake(), SPEC, 2 * SECOND - 1)
    sessions.open(handshake(), SPEC, 2 * SECOND)
    sessions.admit(context(used), request(), 2 * SECOND)
    with pytest.raises(Refused, match="open one first"):
        sessions.admit(context(unused), request(), 2 * SECOND)


def test_a_robot_that_floods_is_refused_and_another_is_not() -> None:
    """Of a thousand requests at once a burst is let through, two hundred a second later; others are free."""
    sessions = table()
    flood, other = (sessions.open(handshake(), SPEC, 0).session_id for _ in range(2))

    reasons: set[Status] = set()

    def let_through(now_ns: int) -> int:
        count = 0
        for _ in range(1000):
            try:
                sessions.admit(context(flood), request(), now_ns)
            except Refused as refused:
                reasons.add(refused.status)
            else:
                count += 1
        return count

    assert let_through(SECOND) == REQUESTS.burst
    assert let_through(SECOND + SECOND // 10) == REQUESTS.per_s / 10
    assert reasons == {Status.RESOURCE_EXHAUSTED}
    sessions.admit(context(other), request(), SECOND + SECOND // 10)


def test_a_robot_that_opens_again_takes_its_own_place() -> None:
    """A robot that names its former session needs no second place."""
    sessions = table(max_robots=1)
    first = sessions.open(handshake(), SPEC, 0).session_id
    second = sessions.open(handshake(previous_session_id=first), SPEC, 1).session_id
    assert len(sessions) == 1
    sessions.admit(context(second), request(), 2)


def test_two_robots_of_the_same_name_do_not_disturb_each_other() -> None:
    """A robot's id is a label: a second robot with the same one gets a session of its own."""
    sessions = table()
    ids = [sessions.open(handshake(), SPEC, 0).session_id for _ in range(2)]
    admitted = [sessions.admit(context(session_id), request(), 1).session_id for session_id in ids]
    assert admitted == ids
    assert len(sessions) == len(set(ids)) == 2


def test_a_closed_session_is_forgotten() -> None:
    """Closing frees the place; closing twice is no error."""
    sessions = table(max_robots=1)
    session_id = sessions.open(handshake(), SPEC, 0).session_id
    sessions.close(session_id)
    sessions.close(session_id)
    assert len(sessions) == 0
    sessions.open(handshake(), SPEC, 1)


@pytest.mark.parametrize(("claimed", "believed"), [(-(2**40), 0), (0, 0), (300, 300), (2**60, 10 * SECOND)])
def test_the_time_left_is_believed_within_limits(claimed: int, believed: int) -> None:
    """A claimed slack is clamped to between zero and ten seconds."""
    assert table().clamp_slack(claimed) == believed


@pytest.mark.parametrize("version", [0, 2, 4_294_967_295])
def test_an_unknown_version_is_refused_with_the_list(version: int) -> None:
    """A protocol version that the server does not speak is refused with those that it does."""
    with pytest.raises(Refused, match="server speaks 1") as refused:
        check_version(version)
    assert refused.value.status is Status.FAILED_PRECONDITION
    assert refused.value.refusal.protocol_versions == (1,)
    check_version(1)
