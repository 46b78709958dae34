"""One call of the policy for many robots, so that the trouble of one does not become everybody's.

An exception in a batch is traced to the request that causes it by serving the
rest one by one; a batch that does not fit in memory is halved once; an output
that is not finite or not of its own shape is kept from its robot alone. What
went wrong is logged here in full and told to the peer in one sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segue.core.specs import PolicySpec
from segue.core.types import FloatArray
from segue.errors import PolicyError
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.server.refused import Refused
from segue.wire.refusal import Reason

_log = logging.getLogger("segue.server")

Result = PolicyOutput | Refused

_NO_MEMORY = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")


@dataclass(frozen=True, slots=True)
class Served:
    """What came of a batch.

    Attributes:
        results: one for each input, in order.
        fits: how many inputs fit in memory at a time, when the batch did not; else None.
    """

    results: list[Result]
    fits: int | None = None


def serve(policy: Policy, batch: Sequence[PolicyInput]) -> Served:
    """Returns an output or a refusal for each input, whatever the policy does.

    Args:
        policy: is called on this thread.
        batch: at least one input.
    """
    try:
        return Served(_infer(policy, batch))
    except BaseException as error:  # a panic of native code is no Exception, and this thread is the policy's
        _log.exception("the policy failed on a batch of %d", len(batch))
        if _is_out_of_memory(error):
            return _serve_halves(policy, batch)
        if len(batch) == 1:
            return Served([Refused(Reason.POLICY_FAILED, "the policy failed on this request")])
        return Served([serve(policy, [item]).results[0] for item in batch])


def _serve_halves(policy: Policy, batch: Sequence[PolicyInput]) -> Served:
    middle = len(batch) // 2
    halves = [half for half in (batch[:middle], batch[middle:]) if half]
    if len(halves) == 1:
        return Served([_out_of_memory()])
    results: list[Result] = []
    fits = 1
    for half in halves:
        try:
            results += _infer(policy, half)
            fits = max(fits, len(half))
        except BaseException:
            _log.exception("the policy failed on half a batch, %d requests", len(half))
            results += [_out_of_memory() for _ in half]
    return Served(results, fits)


def _infer(policy: Policy, batch: Sequence[PolicyInput]) -> list[Result]:
    outputs = policy.infer(batch)
    if len(outputs) != len(batch):
        raise PolicyError(f"{len(outputs)} outputs for {len(batch)} inputs")
    return [_checked(output, policy.spec) for output in outputs]


def _checked(output: PolicyOutput, spec: PolicySpec) -> Result:
    problem = _problem(output, spec)
    if problem is None:
        return output
    _log.error("the output of %s is refused: %s", spec.name, problem)
    return Refused(Reason.POLICY_FAILED, f"the policy's output is refused: {problem}")


def _problem(output: PolicyOutput, spec: PolicySpec) -> str | None:
    """Returns what is wrong with an output, or None."""
    if not 0 <= output.conditioned_delay <= spec.horizon:
        return f"conditioned delay {output.conditioned_delay} is outside 0..{spec.horizon}"
    problem = _array_problem(output.robot_actions, (spec.horizon, len(spec.action)), "robot actions")
    if problem is not None:
        return problem
    if output.model_actions is not None:
        shape = (spec.horizon, spec.model_action_dim)
        problem = _array_problem(output.model_actions, shape, "model actions")
    return problem or _range_problem(output.robot_actions, spec)


def _array_problem(actions: FloatArray, shape: tuple[int, int], what: str) -> str | None:
    if actions.shape != shape:
        return f"{what} have shape {actions.shape}, expected {shape}"
    if not np.isfinite(actions).all():
        return f"{what} are not finite"
    return None


def _range_problem(actions: FloatArray, spec: PolicySpec) -> str | None:
    """Looks for nonsense: a value further outside its limits than these are apart.

    A learned policy overshoots a limit now and then, and the client clips that; it does not
    overshoot by the whole range.
    """
    low, high = spec.action.array("low"), spec.action.array("high")
    outside = np.maximum(low - actions, actions - high).max(axis=0)
    width = np.where(high > low, high - low, np.inf)
    beyond = np.flatnonzero(outside > width)
    if not beyond.size:
        return None
    return f"{spec.action.names[beyond[0]]} is out of range"


def _is_out_of_memory(error: BaseException) -> bool:
    # torch has a class of its own for it, which cannot be imported here, and raises plain
    # RuntimeErrors from its CPU allocator and from the libraries below it.
    return any(
        isinstance(cause, MemoryError)
        or type(cause).__name__ == "OutOfMemoryError"
        or (isinstance(cause, RuntimeError) and any(words in str(cause).lower() for words in _NO_MEMORY))
        for cause in (error, error.__cause__)
    )


def _out_of_memory() -> Refused:
    return Refused(Reason.OUT_OF_MEMORY, "the policy ran out of memory on this batch")
