"""Tools for testing robots, policies and whole runs; public, for anybody's tests.

    check_robot, check_camera, check_policy   does mine keep the promises?
    FakeRobot, FakeCamera           stand-ins that can be told to fail
    VirtualClock                    time that passes at once
    SimLink, LinkModel, Partition   a network in a box
    SimServer, ServiceTime          the server's own session table and batcher under virtual time
    Simulation, SimClient, SimSetup whole runs over all of the above; a seed replays them
    run_seed, SeedResult            a minute with faults drawn from a seed, judged from all sides
    check_commands, assert_clean    did an arm ever move wrongly? judged from its log of commands,
                                    which read_commands reads
    check_goals, check_applied      was its motor ever told wrongly? judged from the goals that it took
    servo_speeds, GoalLog           what that takes of an arm
    FaultProxy, Schedule            a bad network between real processes
    FeetechBus                      an SO-101's servos behind a serial port, without the arm

Names are loaded when they are first used: a fake robot in the control process
must not bring the server with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segue.client.commands import read_commands
    from segue.testing.cameras import FakeCamera
    from segue.testing.checker import Violation, assert_clean, check_commands
    from segue.testing.clock import VirtualClock
    from segue.testing.conformance import check_camera, check_policy, check_robot
    from segue.testing.feetech_bus import FeetechBus
    from segue.testing.goal_checker import check_applied, check_goals, servo_speeds
    from segue.testing.goal_log import GoalLog
    from segue.testing.netfaults import Change, NetFault, Schedule
    from segue.testing.proxy import FaultProxy
    from segue.testing.robots import FakeRobot
    from segue.testing.seeds import SeedResult, run_seed
    from segue.testing.simlink import LinkModel, Partition, SimLink
    from segue.testing.simserver import ServiceTime, SimServer
    from segue.testing.simulation import SimClient, SimSetup, Simulation

__all__ = [
    "Change",
    "FakeCamera",
    "FakeRobot",
    "FaultProxy",
    "FeetechBus",
    "GoalLog",
    "LinkModel",
    "NetFault",
    "Partition",
    "Schedule",
    "SeedResult",
    "ServiceTime",
    "SimClient",
    "SimLink",
    "SimServer",
    "SimSetup",
    "Simulation",
    "Violation",
    "VirtualClock",
    "assert_clean",
    "check_applied",
    "check_camera",
    "check_commands",
    "check_goals",
    "check_policy",
    "check_robot",
    "read_commands",
    "run_seed",
    "servo_speeds",
]

_HOMES = {
    ".cameras": ("FakeCamera",),
    ".checker": ("Violation", "assert_clean", "check_commands"),
    ".clock": ("VirtualClock",),
    ".conformance": ("check_camera", "check_policy", "check_robot"),
    ".feetech_bus": ("FeetechBus",),
    ".goal_checker": ("check_applied", "check_goals", "servo_speeds"),
    ".goal_log": ("GoalLog",),
    ".netfaults": ("Change", "NetFault", "Schedule"),
    ".proxy": ("FaultProxy",),
    ".robots": ("FakeRobot",),
    ".seeds": ("SeedResult", "run_seed"),
    ".simlink": ("LinkModel", "Partition", "SimLink"),
    ".simserver": ("ServiceTime", "SimServer"),
    ".simulation": ("SimClient", "SimSetup", "Simulation"),
    "segue.client.commands": ("read_commands",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'segue.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name], __name__), name)
