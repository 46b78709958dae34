"""Makes the simulated SO-101 without its cameras, for a control process in a test."""

from __future__ import annotations

from segue.robots.mujoco import SimSO101, SimSO101Config


def make() -> SimSO101:
    """Returns the arm beside its belt."""
    return SimSO101(SimSO101Config(cameras=()))
