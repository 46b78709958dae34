"""How a policy continues the plan: Segue's flags, and LeRobot's for the same things.

Segue's defaults are the paper's (arXiv:2506.07339): exp, weight 5, a window as
long as the chunk. As soon as one flag of LeRobot's group is given, the whole
group means what it means there, its defaults included (linear, 10, 10); its
``execution_horizon`` is the end of the window, not the paper's s.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Literal

from segue.config.constraints import Steps, Weight
from segue.config.refusal import Refused
from segue.config.schema import Help

ScheduleName = Literal["exp", "linear", "ones", "zeros"]
ModeName = Literal["guided", "trained"]
JacobianName = Literal["exact", "identity"]


@dataclass(frozen=True, kw_only=True)
class RtcConfig:
    """Real-Time Chunking, used by --strategy=rtc."""

    prefix_end: Annotated[Steps | None, Help("end of the guidance window; null means the chunk's")] = None
    max_weight: Annotated[Weight, Help("clip of the guidance factor (beta)")] = 5.0
    schedule: Annotated[ScheduleName, Help("shape of the weights after the hard prefix")] = "exp"
    jacobian: Annotated[JacobianName, Help("exact is the paper's; identity costs less")] = "exact"
    mode: Annotated[ModeName, Help("trained needs a policy trained on prefixes")] = "guided"


@dataclass(frozen=True, kw_only=True)
class LerobotRtcConfig:
    """Real-Time Chunking by LeRobot's flags; one of them given brings LeRobot's defaults for the others."""

    enabled: Annotated[bool | None, Help("true is --strategy=rtc, false is --strategy=async")] = None
    mode: Annotated[ModeName | None, Help("as --rtc.mode")] = None
    execution_horizon: Annotated[Steps | None, Help("as --rtc.prefix_end; LeRobot's default is 10")] = None
    max_guidance_weight: Annotated[Weight | None, Help("as --rtc.max_weight; LeRobot's default is 10")] = None
    prefix_attention_schedule: Annotated[
        ScheduleName | None, Help("as --rtc.schedule; LeRobot's default is LINEAR")
    ] = None

    def __bool__(self) -> bool:
        """Whether any of the group was given."""
        return any(getattr(self, f.name) is not None for f in fields(self))


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """LeRobot's group for inference."""

    rtc: LerobotRtcConfig = field(default_factory=LerobotRtcConfig)


# LeRobot's name, ours, and LeRobot's default.
SAME = (
    ("mode", "mode", "guided"),
    ("execution_horizon", "prefix_end", 10),
    ("max_guidance_weight", "max_weight", 10.0),
    ("prefix_attention_schedule", "schedule", "linear"),
)


def folded(ours: RtcConfig, theirs: LerobotRtcConfig, given: frozenset[str]) -> RtcConfig:
    """Returns `ours` with what LeRobot's flags say.

    Args:
        ours: as set by Segue's flags.
        theirs: as set by LeRobot's.
        given: keys that the user set; ours among them win over LeRobot's defaults.

    Raises:
        Refused: the same thing was set under both names.
    """
    if not theirs:
        return ours
    said: dict[str, object] = {}
    for lerobot_name, name, default in SAME:
        value = getattr(theirs, lerobot_name)
        if f"rtc.{name}" not in given:
            said[name] = default if value is None else value
        elif value is not None:
            raise Refused(f"inference.rtc.{lerobot_name}", f"says the same as --rtc.{name}; give one of them")
    return replace(ours, **said)  # type: ignore[arg-type]  # names and values are from the table above
