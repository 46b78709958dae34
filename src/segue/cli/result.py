"""What a run came to, in one line, and why it ended early, in one sentence.

The numbers are those of `summary.json` that a person asks for first; the rest
stays in the file. Nothing is counted or judged here.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from segue.client.launch import Outcome
from segue.config.run import RunConfig
from segue.core.facts import ExitReason

_SIGNALLED = 128
_WORDS: Mapping[str, str] = {
    ExitReason.LINK_LOST: "no answer from {server} for {offline:g} s; ended",
    ExitReason.NO_ANSWER: "ended without an answer from {server}",
    ExitReason.OVERLOADED: "{server} has no room; ended",
    ExitReason.POLICY_FAILED: "the policy of {server} fails; ended",
    ExitReason.PROTOCOL: "{server} answers what cannot be read; ended",
    ExitReason.CAMERA: "no pictures for {blind:g} s; ended",
    ExitReason.ROBOT: "the robot failed",
    # What the control process raised before it began to tick.
    "RobotFault": "the robot failed",
    "ConfigError": "the robot was not started",
    "SafetyLatch": "the robot is in danger, and a person has to look",
    ExitReason.DANGER: "the robot is in danger, and a person has to look",
    ExitReason.OTHER_POLICY: "{server} changed its policy; ended",
    ExitReason.REFUSED: "{server} turned this robot away",
    "bug": "a bug, please report it; ended",
    "crashed": "ended by the death of the control process",
    "stuck": "the control process did not end",
    "nonsense": "a bug, please report it: the run's two processes did not understand each other; ended",
    "unrecorded": "ended, but the records are held up by a disk or a pipe",
    ExitReason.BAD_CHUNKS: "too many chunks in a row from {server} were rejected; ended",
}


def result_line(summary: Mapping[str, Any]) -> str:
    """Returns the numbers of a run, such as ``0 starved ticks, 12 chunks, delay p50 10 steps``.

    Args:
        summary: as in summary.json; cubes and delay are left out where there were none.
    """
    parts = [f"{summary['starved_ticks']} starved ticks", f"{summary['chunks']} chunks"]
    if summary["cubes_offered"] is not None:
        parts.insert(0, f"{summary['successes']} of {summary['cubes_offered']} cubes lifted")
    delay = summary["delay_steps"]["p50"]
    if delay is not None:
        parts.append(f"delay p50 {delay:g} steps")
    return ", ".join(parts)


def end_sentence(outcome: Outcome, config: RunConfig) -> str:
    """Returns why the run ended with a code other than 0.

    Args:
        outcome: of the run.
        config: resolved; has the address and the limits.
    """
    ticks, hz = outcome.summary["ticks"], outcome.summary["tick_hz"]
    sentence = _cause(outcome, config)
    if isinstance(ticks, int) and isinstance(hz, float):
        sentence += f" after {ticks / hz:.1f} s"
    elif outcome.reason in set(ExitReason):
        sentence += " at the start"
    if outcome.reason == ExitReason.SIGNALLED and ticks:
        parked = outcome.summary.get("parked")
        sentence += ", parked" if parked else ", NOT parked: the arm is where it was last told to be"
    return f"{sentence}: {outcome.detail}" if outcome.detail else sentence


def _cause(outcome: Outcome, config: RunConfig) -> str:
    if outcome.reason == ExitReason.SIGNALLED:
        name = signal.Signals(outcome.exit_code - _SIGNALLED).name
        return f"stopped by {name}"
    words = _WORDS.get(outcome.reason, f"ended as {outcome.reason}")
    return words.format(
        server=f"the server at {config.link.server_address}",
        offline=config.safety.offline_limit_s,
        blind=config.safety.camera_limit_s,
    )
