"""What each report of the link means for the executor."""

from __future__ import annotations

from segue.core.facts import ExitReason, RequestMissed
from segue.core.link.reports import CameraFailed, CameraWorks, Closed, Failed, Opened, Stop
from segue.core.turn import take_report

from .driver import Driver, config_of


def test_every_report_reaches_the_executor() -> None:
    """An open session, a lost one, failures, cameras and the wish to end: each becomes what it says."""
    d = Driver(config_of())
    executor, troubles = d.executor, d.executor.troubles
    take_report(executor, Opened(1, 2, executor._session.policy_hash or "h"), d.now_ns)
    assert executor._session.ready
    take_report(executor, Failed(0, "full", "overloaded"), d.now_ns)
    assert (troubles.link.misses, troubles.link.said, troubles.link.ends_as) == (1, "full", "overloaded")
    take_report(executor, Closed("connection lost"), d.now_ns)
    assert not executor._session.ready
    assert troubles.link.misses == 2
    take_report(executor, CameraFailed("front: unplugged"), d.now_ns)
    assert troubles.camera == "front: unplugged"
    take_report(executor, CameraWorks(), d.now_ns)
    assert troubles.camera is None
    take_report(executor, Stop(ExitReason.REFUSED), d.now_ns)
    missed = [e for e in d.tick().events if isinstance(e, RequestMissed)]
    assert [each.cause for each in missed] == ["full", "connection lost"]
    assert executor._session.ending is ExitReason.REFUSED
