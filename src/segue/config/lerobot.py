"""LeRobot's flags that mean nothing here, or nothing yet, and what to say of each.

A user moves over by changing the command, not the arguments: what is harmless
to leave out is taken with a note, what would change the run's meaning is
refused with a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Foreign:
    """Foreign keys: those taken with a note, and those refused with a sentence."""

    ignored: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


_STRATEGIES = "say by --strategy how chunks are executed: rtc, async or sync"
_LATER = "this is one of LeRobot's flags that Segue does not have yet"

RUN = Foreign(
    ignored={
        "policy_type": "is ignored: the server reads the type from the policy itself",
        "policy_device": "is ignored: the server chooses its device, by `segue serve --policy.device`",
        "client_device": "is ignored: actions reach the client as plain numbers, on no device",
    },
    absent={
        "device": "the policy runs at the server; choose there, by `segue serve --policy.device`",
        "display_data": f"{_LATER}; a run's records lie in --output_dir",
        "inference.type": f"Segue has no such group of back ends; {_STRATEGIES}",
        "interpolation_multiplier": "set the rates: --fps for the steps, --control_hz for the robot",
        "policy.path": "`segue serve --policy.path` loads it; ask for it by --pretrained_name_or_path",
        "rename_map": f"{_LATER}; the cameras' names must be those that the policy asks for",
        "robot.max_relative_target": (
            "Segue limits the speed and not the step; --robot.max_speed is the step times its rate, degrees "
            "per second: a max_relative_target of 5 at 30 Hz is --robot.max_speed=150"
        ),
        "strategy.type": f"Segue has no rollout strategies, it runs and records; {_STRATEGIES}",
        "use_torch_compile": f"{_LATER}; it would belong to `segue serve`",
        "verify_robot_cameras": "cameras are always checked against the policy at the handshake",
    },
)

SERVE = Foreign(
    ignored={
        "fps": "is ignored: the rate is the policy's own, and each robot's requests carry their timing",
        "obs_queue_timeout": "is ignored: requests are scheduled by their deadlines, not taken from a queue",
    },
    absent={
        "policy.use_torch_compile": _LATER,
        "rename_map": _LATER,
    },
)
