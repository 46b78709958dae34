"""From a message to the executor: what each thing that the link says means for the plan.

The control loop calls this with its mail, the simulation with the mail of its
simulated link: there is one table of meanings, and no copy of it.
"""

from __future__ import annotations

from segue.core.executor import ChunkExecutor
from segue.core.facts import SessionOpened
from segue.core.link.reports import CameraFailed, CameraWorks, Closed, Failed, LinkReport, Opened, Stop


def take_report(executor: ChunkExecutor, report: LinkReport, now_ns: int) -> None:
    """Tells the executor what the link reports.

    Args:
        executor: of the robot.
        report: from its link.
        now_ns: of the present tick.
    """
    match report:
        case Opened():
            known = (report.round_trip_ns, report.warm_inference_ns, report.policy_hash)
            executor.link_opened(SessionOpened(*known))
        case Closed():
            executor.link_closed(now_ns, report.cause, report.ends_as)
        case Failed():
            executor.request_failed(now_ns, report.number, report.cause, report.ends_as)
        case CameraFailed():
            executor.camera_failed(now_ns, report.what)
        case CameraWorks():
            executor.camera_works(now_ns)
        case Stop():
            executor.stop(report.reason)
