"""The link's rules, each with the network in the test's hands: no socket, no thread, no clock."""

from __future__ import annotations

import pytest

from segue.core.link import events as ev
from segue.core.link.heard import Heard, Status
from segue.core.link.reports import Closed, Failed, Opened, Stop
from segue.core.link.states import LinkState
from segue.errors import (
    AuthenticationError,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    SegueError,
    SpecMismatch,
)

from .driver import JOINTS, MS, Driver, S, no, of_kind, policy, reports


def ready() -> Driver:
    d = Driver()
    d.open()
    d.effects.clear()
    return d


# --- dials --------------------------------------------------------------------------------------


def test_the_first_event_dials() -> None:
    """Whatever comes first, a fresh channel is made at once."""
    d = Driver()
    assert d.feed(ev.Woken()) == [ev.Connect(1)]
    assert d.machine.state is LinkState.DIALING


def test_a_handshake_measures_the_way_and_opens() -> None:
    """Three round trips are measured, the shortest counts, and the loop hears what the server declared."""
    d = Driver()
    d.open()
    assert len(of_kind(d.effects, ev.Describe)) == 3
    assert d.reports() == [Opened(MS, 20 * MS, "cafe")]
    assert d.machine.session is not None
    assert d.machine.session.spec_hash == policy().spec_hash()


def test_a_description_that_comes_twice_opens_one_session() -> None:
    """What was already measured says nothing a second time."""
    d = Driver()
    d.begin()
    d.connect()
    for _ in range(10):
        d.now_ns += MS
        d.feed(ev.Described(1, (policy(),)))
    assert len(of_kind(d.effects, ev.Open)) == 1


def test_on_a_long_way_one_measurement_must_do() -> None:
    """A server that needs a quarter of the handshake's time for a call is not measured a second time."""
    d = Driver()
    d.begin()
    d.connect()
    d.shake(trip_ns=600 * MS)
    assert len(of_kind(d.effects, ev.Describe)) == 1
    assert d.machine.state is LinkState.READY


def test_failed_dials_come_later_and_later_within_bounds() -> None:
    """Dials that are turned away lie 100 ms apart or more, however many fail."""
    d = Driver()
    d.begin()
    for _ in range(20):
        d.feed(ev.TurnedAway(d.channel, no(Status.NO_CONNECTION)))
        d.feed(ev.Diagnosed(d.channel, None))
        d.wait(600 * MS)
    gaps = [later - earlier for earlier, later in zip(d.dialled_ns, d.dialled_ns[1:], strict=False)]
    assert min(gaps) >= 100 * MS
    assert max(gaps) <= 600 * MS


def test_the_first_connection_is_given_more_and_more_time() -> None:
    """Before the first session a connection that does not come about gets twice the time at each dial."""
    d = Driver()
    d.begin()
    d.wait(26 * S)
    gaps = [later - earlier for earlier, later in zip(d.dialled_ns, d.dialled_ns[1:], strict=False)]
    assert [round(gap / (400 * MS)) for gap in gaps] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("round_trip_s", [0.01, 0.3, 0.8, 2.0, 3.0])
@pytest.mark.parametrize("connecting_trips", [2, 5])
def test_a_far_server_is_reached(round_trip_s: float, connecting_trips: int) -> None:
    """A round trip of up to 3 s, with TLS or without, ends READY before the offline limit."""
    trip_ns = int(round_trip_s * S)
    d = Driver()
    d.begin()
    connected: set[int] = set()
    while d.machine.state is not LinkState.READY and d.now_ns < 60 * S:
        d.wait(10 * MS)
        since_ns = d.now_ns - d.dialled_ns[-1]
        if d.machine.state is LinkState.DIALING and since_ns >= connecting_trips * trip_ns:
            d.feed(ev.Connected(d.channel))
            connected.add(d.channel)
            sent_ns = d.now_ns
        elif d.machine.state is LinkState.OPENING and d.now_ns - sent_ns >= trip_ns:
            sent_ns = d.now_ns
            if isinstance(d.last(ev.Open, ev.Describe), ev.Open):
                d.feed(ev.Welcomed(d.channel, "s", policy()))
            else:
                d.feed(ev.Described(d.channel, (policy(),)))
    assert d.machine.state is LinkState.READY
    assert not of_kind(d.effects, ev.GiveUp)


def test_once_connected_a_dial_takes_no_longer_than_it_needs() -> None:
    """After a session every dial waits one connect timeout, or twice what the last connection took."""
    for took_ns, patience_ns in ((MS, 400 * MS), (300 * MS, 600 * MS)):
        d = Driver()
        d.begin()
        d.connect(took_ns)
        d.shake()
        d.feed(ev.Broke(d.channel))
        d.dialled_ns = d.dialled_ns[-1:]
        d.wait(3 * S)
        gaps = [b - a for a, b in zip(d.dialled_ns, d.dialled_ns[1:], strict=False)]
        assert all(patience_ns + 100 * MS <= gap <= patience_ns + 500 * MS for gap in gaps)


def test_a_newcomer_gives_up_at_the_offline_limit_and_says_why() -> None:
    """Without a session the waiting ends after 60 s, with what the last dial failed of."""
    d = Driver()
    d.begin()
    while not of_kind(d.effects, ev.GiveUp):
        d.feed(ev.TurnedAway(d.channel, no(Status.UNKNOWN_HOST, "no such host")))
        d.feed(ev.Diagnosed(d.channel, None))
        d.wait(100 * MS)
    assert 60 * S <= d.now_ns <= 60.2 * S
    assert of_kind(d.effects, ev.GiveUp)[0].heard.text == "no such host"
    dials = len(d.dialled_ns)
    d.wait(60 * S)
    assert len(d.dialled_ns) == dials


def test_why_there_is_no_session_is_told_when_it_changes_and_only_then() -> None:
    """The first failure is told at once; the same again is not; another is."""
    d = Driver()
    d.begin()
    for text in ("no connection", "no connection", "no such host", "no such host", "no connection"):
        d.feed(ev.TurnedAway(d.channel, no(Status.NO_CONNECTION, text)))
        d.feed(ev.Diagnosed(d.channel, None))
        d.wait(500 * MS)
    told = [each.heard.text for each in of_kind(d.effects, ev.Waits)]
    assert told == ["no connection", "no such host", "no connection"]


def test_a_certain_reason_ends_the_waiting() -> None:
    """A connection turned away for a wrong certificate is looked into, and ends in the refusal found."""
    d = Driver()
    d.begin()
    assert d.feed(ev.TurnedAway(1, no(Status.NO_CONNECTION))) == [ev.Look(1, 400 * MS)]
    error = AuthenticationError("the CA did not sign it")
    assert of_kind(d.feed(ev.Diagnosed(1, error)), ev.Refuse) == [ev.Refuse(error)]
    assert d.machine.state is LinkState.REFUSED


def test_a_dial_that_times_out_is_not_looked_into() -> None:
    """A server that accepts and says nothing costs no second time-out."""
    d = Driver()
    d.begin()
    d.wait(5 * S)
    assert not of_kind(d.effects, ev.Look)


def test_news_of_a_channel_that_was_thrown_away_changes_nothing() -> None:
    """Late events of an earlier channel neither open, nor break, nor refuse the present one."""
    d = Driver()
    d.begin()
    d.wait(600 * MS)
    assert d.channel == 2
    state = d.machine.state
    late = (
        ev.Connected(1),
        ev.Broke(1),
        ev.Described(1, (policy(),)),
        ev.Welcomed(1, "old", policy()),
        ev.Unopened(1, no(Status.FAILED_PRECONDITION)),
        ev.Unfit(1, SpecMismatch(["x"])),
        ev.Diagnosed(1, AuthenticationError("x")),
    )
    for event in late:
        assert d.feed(event) == []
        assert d.machine.state is state


@pytest.mark.parametrize(
    ("status", "error", "exit_code"),
    [
        (Status.FAILED_PRECONDITION, SpecMismatch, 76),
        (Status.PERMISSION_DENIED, SpecMismatch, 76),
        (Status.RESOURCE_EXHAUSTED, Overloaded, 75),
        (Status.UNAUTHENTICATED, AuthenticationError, 77),
        (Status.INVALID_ARGUMENT, LocalProtocolError, 70),
        (Status.UNIMPLEMENTED, RemoteProtocolError, 76),
    ],
)
def test_a_newcomer_that_is_refused_ends_with_the_reason(
    status: Status, error: type[SegueError], exit_code: int
) -> None:
    """What will never succeed ends the run before it began, with its exit code and its text."""
    d = Driver()
    d.begin()
    d.connect()
    (refused,) = of_kind(d.feed(ev.Unopened(1, no(status, "not you"))), ev.Refuse)
    assert type(refused.error) is error
    assert refused.error.exit_code == exit_code
    assert "not you" in str(refused.error)
    assert d.reports() == []


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.INTERNAL])
def test_what_may_pass_is_dialled_again(status: Status) -> None:
    """A server that is loading, slow or broken is met by the next dial."""
    d = Driver()
    d.begin()
    d.connect()
    d.feed(ev.Unopened(1, no(status)))
    d.wait(200 * MS)
    assert d.channel == 2
    d.open()
    assert d.machine.state is LinkState.READY


def test_a_robot_that_was_let_in_once_waits_for_a_place() -> None:
    """After a session a full server is dialled again like one that is away, and the loop hears the reason."""
    d = ready()
    d.feed(ev.Broke(1))
    d.connect()
    d.feed(ev.Unopened(2, no(Status.RESOURCE_EXHAUSTED, "full", "full")))
    assert Failed(0, "resource exhausted: full", "overloaded") in d.reports()
    d.wait(200 * MS)
    d.open()
    assert d.machine.state is LinkState.READY


def test_a_new_session_takes_the_old_ones_place() -> None:
    """Opening again names the session before."""
    d = ready()
    d.feed(ev.Broke(1))
    d.connect()
    d.shake()
    opened = d.last(ev.Open)
    assert isinstance(opened, ev.Open)
    assert opened.previous_session_id == "session-1"


# --- what the server offers ---------------------------------------------------------------------

REVERSED = tuple(reversed(JOINTS))
RADIANS = tuple(JOINTS[0].__class__(j.name, "rad", low=-1, high=1, max_speed=3) for j in JOINTS)
ONE_MORE = (*JOINTS, JOINTS[0].__class__("wrist", "deg", low=-90, high=90, max_speed=180))


@pytest.mark.parametrize("joints", [REVERSED, RADIANS, ONE_MORE, JOINTS[:1]])
@pytest.mark.parametrize("again", [False, True])
def test_a_policy_that_does_not_fit_the_robot_is_refused_here(joints: tuple, again: bool) -> None:
    """Joints reversed, in radians, one more or one less: 76 with both lists."""
    d = Driver()
    if again:
        d.open()
        d.feed(ev.Broke(1))
        d.connect()
    else:
        d.begin()
        d.connect()
    d.shake(policy(joints, policy_hash="other" if again else "cafe"))
    refused = d.last(ev.Refuse)
    assert isinstance(refused, ev.Refuse)
    assert refused.error.exit_code == 76
    assert "robot has" in str(refused.error)
    assert "policy expects" in str(refused.error)
    assert (Stop("refused") in d.reports()) == again


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 40},
        {"action_hz": 10.0},
        {"history_steps": 2},
        {"rtc_modes": ()},
        {"model_action_dim": 3},
        {"name": "else"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_spec_under_the_same_hash_is_refused(change: dict[str, object]) -> None:
    """What the run began with is pinned: a re-open that says otherwise ends with both sides."""
    d = ready()
    d.feed(ev.Broke(1))
    d.connect()
    d.shake(policy(**change))
    refused = d.last(ev.Refuse)
    assert isinstance(refused, ev.Refuse)
    assert refused.error.exit_code == 76
    (name,) = change
    assert name.replace("_", " ") in str(refused.error).replace("_", " ")


def test_a_restarted_server_may_be_slower_or_quicker() -> None:
    """Only the declared inference time is measured anew at each start, and is no other spec."""
    d = ready()
    d.feed(ev.Broke(1))
    d.connect()
    d.shake(policy(warm_inference_ns=90 * MS))
    assert d.machine.state is LinkState.READY
    assert d.reports()[-1] == Opened(MS, 90 * MS, "cafe")


def test_another_policy_is_told_to_the_loop() -> None:
    """Under another hash the session opens, and the control loop decides: what is planned is void."""
    d = ready()
    d.feed(ev.Broke(1))
    d.connect()
    d.shake(policy(policy_hash="beef"))
    assert d.reports()[-1] == Opened(MS, 20 * MS, "beef")


# --- requests -----------------------------------------------------------------------------------


def test_a_request_is_sent_and_its_answer_delivered() -> None:
    """It travels in the session, and the answer goes to the control loop."""
    d = ready()
    (sent,) = of_kind(d.ask(1), ev.Send)
    assert (sent.number, sent.channel, sent.session_id) == (1, 1, "session-1")
    assert d.answer(1) == [ev.Deliver(1)]


def test_a_request_without_a_session_fails_at_once() -> None:
    """While the link is down the control loop hears so, and nothing is sent."""
    d = ready()
    d.feed(ev.Broke(1))
    effects = d.ask(1)
    assert Failed(1, "no session is open") in reports(effects)
    assert not of_kind(effects, ev.Send)


def test_a_newer_request_gives_the_older_up() -> None:
    """Only the newest counts; the one before is cancelled, and its late answer says nothing."""
    d = ready()
    d.ask(1)
    effects = d.ask(2)
    assert of_kind(effects, ev.Cancel) == [ev.Cancel(1)]
    assert d.answer(1) == []
    assert d.refuse(1, no(Status.UNAVAILABLE)) == []
    assert d.answer(2) == [ev.Deliver(2)]


def test_two_missed_deadlines_in_a_row_throw_the_channel_away() -> None:
    """One silent request is only reported; the second also closes the link, and a dial is due at once."""
    d = ready()
    d.ask(1)
    d.wait(501 * MS)
    assert d.reports() == [Failed(1, "deadline", "link_lost")]
    d.ask(2)
    d.wait(501 * MS)
    assert isinstance(d.reports()[-1], Closed)
    assert d.channel == 2


def test_an_answer_between_two_misses_counts() -> None:
    """Deadlines that are not in a row leave the channel alone."""
    d = ready()
    for number in range(1, 12):
        d.ask(number)
        if number % 2:
            d.wait(501 * MS)
        else:
            d.answer(number)
    assert d.channel == 1


def test_a_server_that_says_no_is_asked_less_often() -> None:
    """From the third failure in a row on, each is told 100 ms late or later."""
    d = ready()
    told_ns = []
    for number in range(1, 7):
        asked_ns = d.now_ns
        d.ask(number, 5 * S)
        d.refuse(number, no(Status.INTERNAL, "the policy failed"))
        while not any(isinstance(m, Failed) and m.number == number for m in d.reports()):
            d.wait(MS)
        told_ns.append(d.now_ns - asked_ns)
    assert told_ns[:2] == [0, 0]
    assert all(100 * MS <= ns <= 500 * MS for ns in told_ns[2:])
    assert d.reports()[-1] == Failed(6, "internal: the policy failed", "policy_failed")
    assert d.channel == 1


def test_a_report_held_back_is_forgotten_with_its_request() -> None:
    """Once a newer request is under way, the failure of an older one is never told."""
    d = ready()
    for number in (1, 2, 3):
        d.ask(number, 5 * S)
        d.refuse(number, no(Status.INTERNAL))
    d.ask(4, 5 * S)
    d.wait(S)
    assert [m.number for m in d.reports() if isinstance(m, Failed)] == [1, 2]


@pytest.mark.parametrize(
    ("status", "reason", "ends_as"),
    [
        (Status.RESOURCE_EXHAUSTED, "", "overloaded"),
        (Status.INTERNAL, "policy_failed", "policy_failed"),
        (Status.UNREADABLE, "", "protocol"),
        (Status.INVALID_ARGUMENT, "", "protocol"),
        (Status.ABORTED, "", "link_lost"),
    ],
)
def test_what_a_server_said_is_told_with_how_it_will_end(status: Status, reason: str, ends_as: str) -> None:
    """Every report of a failure says the reason of the end that it leads to."""
    d = ready()
    d.ask(1)
    d.refuse(1, no(status, "why", reason))
    (failed,) = d.reports()
    assert isinstance(failed, Failed)
    assert failed.ends_as == ends_as
    assert "why" in failed.cause


def test_an_unknown_session_is_opened_again_on_the_same_channel_once() -> None:
    """The first time on the same channel and at once; forgotten again, it dials, later and later."""
    d = ready()
    d.ask(1)
    d.refuse(1, no(Status.FAILED_PRECONDITION))
    assert isinstance(d.reports()[0], Closed)
    assert d.machine.state is LinkState.OPENING
    d.shake()
    assert (d.channel, d.machine.state) == (1, LinkState.READY)
    gaps_ns = []
    for number in range(2, 6):
        d.ask(number)
        lost_ns = d.now_ns
        d.refuse(number, no(Status.FAILED_PRECONDITION))
        d.wait(S)
        gaps_ns.append(d.dialled_ns[-1] - lost_ns)
        d.dialled_ns = d.dialled_ns[:1]
        d.open() if d.machine.state is LinkState.DIALING else d.shake()
    assert min(gaps_ns) >= 100 * MS


def test_a_server_that_opens_and_drains_is_dialled_later_and_later() -> None:
    """A server that takes sessions and refuses every request is dialled at most 50 times in 5 s."""
    d = ready()
    number = 0
    while d.now_ns < 5 * S:
        number += 1
        d.ask(number)
        d.refuse(number, no(Status.UNAVAILABLE, "draining", "draining"))
        d.wait(MS)
        while d.machine.state is LinkState.DOWN and d.now_ns < 5 * S:
            d.wait(MS)
        if d.machine.state is LinkState.DIALING:
            d.open()
    assert 10 <= len(d.dialled_ns) <= 50
    gaps = [b - a for a, b in zip(d.dialled_ns[2:], d.dialled_ns[3:], strict=False)]
    assert min(gaps) >= 100 * MS


def test_a_broken_connection_waits_for_the_call_that_is_under_way() -> None:
    """A server that drains still answers it; only then the link is dialled afresh."""
    d = ready()
    d.ask(1)
    assert reports(d.feed(ev.Broke(1))) == []
    effects = d.answer(1)
    assert effects[0] == ev.Deliver(1)
    assert Closed("connection lost", "link_lost") in reports(effects)
    assert of_kind(effects, ev.Connect) == [ev.Connect(2)]


def test_a_refusal_in_mid_run_asks_for_the_end() -> None:
    """A token that is not known any more ends the run with 77, and the loop is told to stop."""
    d = ready()
    d.ask(1)
    effects = d.refuse(1, no(Status.UNAUTHENTICATED, "who are you"))
    assert Stop("refused") in reports(effects)
    (refused,) = of_kind(effects, ev.Refuse)
    assert refused.error.exit_code == 77


def test_after_the_end_nothing_is_done() -> None:
    """A refused link takes every event and answers none."""
    d = ready()
    d.ask(1)
    d.refuse(1, no(Status.UNAUTHENTICATED))
    events = (ev.Woken(), ev.Asked(2, d.now_ns + S), ev.Connected(1), ev.Welcomed(1, "s", policy()))
    for event in events:
        assert d.feed(event) == []


def test_a_request_that_cannot_be_completed_fails_and_says_nothing_of_the_link() -> None:
    """Without a picture the request fails here; the channel and the count of misses stay."""
    d = ready()
    for number in range(1, 6):
        d.ask(number)
        assert reports(d.feed(ev.Unsendable(number, "front: no picture"))) == [
            Failed(number, "front: no picture")
        ]
    assert d.channel == 1


def test_slow_uploads_make_pictures_smaller_once() -> None:
    """After two uploads of over 200 ms that is asked for, once; time in the server is no upload."""
    d = ready()
    for number in range(1, 4):
        d.ask(number, 5 * S)
        d.answer(number, took_ns=500 * MS, served_ns=450 * MS)
    assert not of_kind(d.effects, ev.Coarsen)
    for number in range(4, 9):
        d.ask(number, 5 * S)
        d.answer(number, took_ns=500 * MS, served_ns=20 * MS)
    (coarsen,) = of_kind(d.effects, ev.Coarsen)
    assert coarsen.why == "100 kB took 0.5 s"


def test_a_sleep_is_no_miss_and_shortens_no_patience() -> None:
    """The call under way is given up without a word, a dial gets its time anew, and the limit goes on."""
    d = ready()
    for number in range(1, 5):
        d.ask(number)
        d.now_ns += 20 * S
        assert d.feed(ev.Slept(20 * S)) == [ev.Cancel(number)]
    assert (d.channel, d.reports()) == (1, [])
    d = Driver()
    d.begin()
    d.wait(300 * MS)
    d.now_ns += 70 * S
    assert d.feed(ev.Slept(70 * S)) == []
    d.wait(50 * MS)
    assert (d.channel, d.machine.state) == (1, LinkState.DIALING)
    d.wait(100 * MS)
    assert not of_kind(d.effects, ev.GiveUp)


def test_a_date_is_always_named_while_something_is_awaited() -> None:
    """A machine that waits for anything says when to wake it; READY without a request it waits for news."""
    d = Driver()
    d.begin()
    assert d.wake_ns is not None
    d.connect()
    assert d.wake_ns is not None
    d.shake()
    assert d.wake_ns is None
    d.ask(1)
    assert d.wake_ns == d.now_ns + 500 * MS + 1


def test_heard_reads_as_one_sentence() -> None:
    """A status comes with its name in words; what no server said speaks for itself."""
    assert str(Heard("RESOURCE_EXHAUSTED", "full")) == "resource exhausted: full"
    assert str(Heard(Status.NO_CONNECTION, "no connection")) == "no connection"
    assert str(Heard("CANCELLED")) == "cancelled"
