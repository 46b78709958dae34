"""Whether each range of a calibration is one that its joint can go through.

A range that is too wide was found on a joint without stops, with a loose horn, or
by a counter that ran over its end; a policy that asks for all of it drives the
joint into its stop. It is a doubt and no refusal, since arms differ.
"""

from __future__ import annotations

import math

from segue.robots.calibration import Calibration
from segue.robots.so101_model import JOINTS
from segue.robots.sts3215 import COUNTS_PER_TURN

# It turns without a stop, so its whole counter is its way.
FULL_TURN = "wrist_roll"
# By so much more than its drawing says may a joint turn that was printed and screwed together by hand:
# of the arms that people have published the widest turned 24 degrees further.
_PLAY_DEG = 60


def wide_ranges(calibration: Calibration) -> tuple[str, ...]:
    """Returns a sentence for each joint whose range is wider than the joint can turn."""
    said = []
    for joint in JOINTS:
        each = calibration[joint.name]
        turns = (each.range_max - each.range_min) * 360 / COUNTS_PER_TURN
        most = math.degrees(joint.high - joint.low)
        if joint.name != FULL_TURN and turns > most + _PLAY_DEG:
            said.append(
                f"{joint.name}: range_min={each.range_min} and range_max={each.range_max} are {turns:.0f}° "
                f"apart, and it turns about {most:.0f}°: was it found without its stops? `segue calibrate` "
                "finds it anew"
            )
    return tuple(said)
