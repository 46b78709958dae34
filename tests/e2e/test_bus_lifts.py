"""An emulated arm on a real serial line, beside a belt, in real time."""

from __future__ import annotations

import numpy as np
import pytest

from segue.clock import NS_PER_MS, NS_PER_S, SystemClock
from segue.core.limits import Limits
from segue.robots.belt import BeltWorld
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_expert import BeltExpert
from segue.robots.so101 import SO101, SO101Config
from segue.robots.so101_units import ArmUnits
from segue.testing.feetech_bus import FeetechBus
from segue.testing.servo_arm import default_calibration
from segue.testing.servo_line import ServoLine
from segue.testing.servo_mirror import servos_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TICK_NS = 10 * NS_PER_MS
LONGEST_S, TICKS_A_STEP = 30, 3


def test_an_emulated_arm_lifts_cubes_over_its_serial_line() -> None:
    """Whoever drives the emulated servos as an arm's, over their port, lifts cubes off the belt."""
    world, clock, expert = BeltWorld(BeltConfig(), 0), SystemClock(), BeltExpert()
    with FeetechBus(ServoLine(servos_of(world)), pause_s=0.002) as bus:
        arm = SO101(SO101Config(bus.port, ArmUnits(default_calibration())))
        arm.connect()
        limits, began_ns, tick = Limits(arm.spec.action), clock.now_ns(), 0
        sent = target = arm.read(began_ns).state
        while world.cubes.score.lifted < 2 and tick < LONGEST_S * NS_PER_S // TICK_NS:
            seen = arm.read(clock.now_ns()).state
            if tick % TICKS_A_STEP == 0:
                target = limits.clip(expert.act(seen, world.environment()))
            path = sent + (target - sent) / (TICKS_A_STEP - tick % TICKS_A_STEP)
            sent = arm.write(limits.slew(sent, path, TICK_NS / NS_PER_S), clock.now_ns())
            tick += 1
            clock.sleep_until(began_ns + tick * TICK_NS)
        arm.disconnect()
    assert world.cubes.score.lifted >= 2, world.cubes.score
    assert np.isfinite(sent).all()
