"""What is said before an arm moves: what was chosen for want of a wish, and what to expect."""

from __future__ import annotations

from segue.client.plan import ControlPlan, RunPlan, advice
from segue.clock import NS_PER_S
from segue.core.pace import AGE_FLAG
from segue.core.specs import PolicySpec


def opening(plan: RunPlan, settled: ControlPlan, policy: PolicySpec, round_trip_ns: int = 0) -> list[str]:
    """Returns what is said before the arm moves: what was chosen for want of a wish, and `advice`.

    Args:
        plan: what was wished.
        settled: what came of it.
        policy: as the server described it.
        round_trip_ns: of the handshake.
    """
    said, wished, chosen = [], plan.context.guidance, settled.context.guidance
    if plan.execution.rule.strategy is None:
        why = f"{policy.name} offers it" if policy.rtc_modes else f"{policy.name} does not offer rtc"
        mode = f" in mode {chosen.mode}" if policy.rtc_modes and chosen.mode is not wished.mode else ""
        said.append(f"strategy is {settled.rule.strategy}{mode}: {why}")
    if wished.prefix_end is not None and wished.prefix_end != chosen.prefix_end:
        said.append(
            f"rtc.prefix_end: {wished.prefix_end} is longer than a chunk of {policy.name}; "
            f"{chosen.prefix_end} is used"
        )
    said.append(_age_sentence(plan, settled, policy))
    return said + advice(settled, policy, round_trip_ns)


def _age_sentence(plan: RunPlan, settled: ControlPlan, policy: PolicySpec) -> str:
    """Returns the oldest that an action may ever be, and why."""
    limit_s = (settled.execution.safety.max_action_age_ns or 0) / NS_PER_S
    if plan.execution.safety.max_action_age_ns is not None:
        return f"no action older than {limit_s:g} s will be executed, as {AGE_FLAG} says"
    horizon, hz = settled.rule.horizon, settled.action_hz
    beyond_s = limit_s - horizon / hz
    return (
        f"no action older than {limit_s:.2f} s will be executed: {horizon} actions at {hz:g} Hz last "
        f"{horizon / hz:.2f} s, and {beyond_s:.2f} s are for answers, which are said to take "
        f"{policy.warm_inference_ns / NS_PER_S:.2f} s ({AGE_FLAG} sets another limit)"
    )
