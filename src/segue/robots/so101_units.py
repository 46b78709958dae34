"""An SO-101's joints between the policy's units and the servos' counts, and the limits in those units.

Each joint has its own `Scale`, made from the calibration. The limit of speed is
said in degrees per second and means the same movement in every unit. Counts are
kept within the calibrated range, whatever the conversion's last digit says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segue.core.specs import Dimension
from segue.core.types import FloatArray
from segue.robots.calibration import GRIPPER, JOINT_IDS, MAX_COUNT, Calibration, Scale, Unit
from segue.robots.so101_model import BODY_SPEED_DEG_S, GRIPPER_SPEED_PERCENT_S

DEG_PER_COUNT = 360 / MAX_COUNT


@dataclass(frozen=True, slots=True)
class ArmUnits:
    """How one arm counts.

    Attributes:
        calibration: by joint, all six.
        use_degrees: body joints in degrees around the middle of their range, else -100..100.
        max_speed: of a command to a body joint, degrees per second.
        gripper_speed: of a command to the gripper, percent per second.
    """

    calibration: Calibration
    use_degrees: bool = True
    max_speed: float = BODY_SPEED_DEG_S
    gripper_speed: float = GRIPPER_SPEED_PERCENT_S
    _scales: tuple[Scale, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Twice a tick they are needed.
        object.__setattr__(self, "_scales", tuple(self._scale(name) for name in JOINT_IDS))

    @property
    def ids(self) -> Mapping[str, int]:
        """The servos by joint, in the arm's order."""
        return {name: self.calibration[name].id for name in JOINT_IDS}

    def dimensions(self) -> tuple[Dimension, ...]:
        """Returns the six joints with unit, limits and speed."""
        return tuple(self._dimension(name) for name in JOINT_IDS)

    def to_units(self, counts: Mapping[int, int]) -> FloatArray:
        """Returns positions by servo as units, shape (6,)."""
        return np.array([scale.to_units(counts[scale.calibration.id]) for scale in self._scales])

    def to_counts(self, units: FloatArray | Sequence[float]) -> dict[int, int]:
        """Returns units, shape (6,), as counts by servo, within the calibrated range."""
        found = {}
        for scale, value in zip(self._scales, units, strict=True):
            joint, counts = scale.calibration, scale.to_counts(float(value))
            found[joint.id] = min(joint.range_max, max(joint.range_min, counts))
        return found

    def _scale(self, name: str) -> Scale:
        return Scale(self._unit(name), self.calibration[name])

    def _unit(self, name: str) -> Unit:
        if name == GRIPPER:
            return "percent"
        return "deg" if self.use_degrees else "normalized"

    def _dimension(self, name: str) -> Dimension:
        scale = self._scale(name)
        speed = self.gripper_speed if name == GRIPPER else self.max_speed
        if scale.unit == "normalized":
            joint = scale.calibration
            speed *= (scale.high - scale.low) / ((joint.range_max - joint.range_min) * DEG_PER_COUNT)
        return Dimension(name, scale.unit, low=scale.low, high=scale.high, max_speed=speed)
