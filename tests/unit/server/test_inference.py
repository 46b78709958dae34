"""One call of the policy for many robots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from segue.core.specs import ActionSpec, Dimension
from segue.errors import PolicyError
from segue.policies.base import PolicyInput, PolicyOutput
from segue.server.inference import serve
from segue.server.refused import Refused, Status
from segue.server.requests import policy_input
from segue.wire.refusal import Reason
from tests.unit.server.toy_policy import HORIZON, SPEC, ToyPolicy, context, request


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def batch(*tasks: str) -> list[PolicyInput]:
    return [policy_input(request(), context("s", task=task), SPEC) for task in tasks]


def reasons(results: Sequence[PolicyOutput | Refused]) -> list[Reason | None]:
    return [result.refusal.reason if isinstance(result, Refused) else None for result in results]


def test_every_input_gets_its_own_output() -> None:
    """A batch is one call, and results come in the order of its inputs."""
    policy = ToyPolicy()
    served = serve(policy, batch("a", "b", "c"))
    assert policy.batches == [3]
    assert reasons(served.results) == [None] * 3
    assert served.fits is None


def test_one_request_that_breaks_the_policy_does_not_fail_the_others() -> None:
    """After an exception the requests of a batch are served one by one, and only the culprit fails."""

    class Choosy(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if any(item.task == "poison" for item in batch):
                raise PolicyError("cannot read /secret/path")

    policy = Choosy()
    served = serve(policy, batch("a", "poison", "c"))
    assert reasons(served.results) == [None, Reason.POLICY_FAILED, None]
    assert policy.batches == [3, 1, 1, 1]
    assert "secret" not in str(served.results[1])


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_once(error: Exception) -> None:
    """A batch beyond the memory is served in halves, and how many fit is reported."""

    class Small(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if len(batch) > 2:
                raise error

    policy = Small()
    served = serve(policy, batch("a", "b", "c", "d"))
    assert reasons(served.results) == [None] * 4
    assert served.fits == 2
    assert policy.batches == [4, 2, 2]


def test_what_does_not_fit_after_halving_is_refused() -> None:
    """A half that does not fit either is answered RESOURCE_EXHAUSTED; the half that fits is served."""

    class Tiny(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            if len(batch) > 2:
                raise PolicyError("wrapped") from MemoryError()

    policy = Tiny()
    served = serve(policy, batch("a", "b", "c", "d", "e"))
    assert reasons(served.results) == [None, None] + [Reason.OUT_OF_MEMORY] * 3
    refused = served.results[-1]
    assert isinstance(refused, Refused)
    assert refused.status is Status.RESOURCE_EXHAUSTED
    assert policy.batches == [5, 2, 3]


def test_a_single_request_that_does_not_fit_is_refused() -> None:
    """A request that does not fit even alone is answered RESOURCE_EXHAUSTED."""

    class Full(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            raise MemoryError

    assert reasons(serve(Full(), batch("a")).results) == [Reason.OUT_OF_MEMORY]


def spoiled(**changes: object) -> PolicyOutput:
    good = PolicyOutput(np.zeros((HORIZON, 2)), np.zeros((HORIZON, 3)), 2)
    return replace(good, **changes)  # type: ignore[arg-type]


BAD_OUTPUTS = {
    "NaN": spoiled(robot_actions=np.full((HORIZON, 2), np.nan)),
    "Inf": spoiled(robot_actions=np.full((HORIZON, 2), np.inf)),
    "far out of range": spoiled(robot_actions=np.full((HORIZON, 2), 1e30)),
    "too short": spoiled(robot_actions=np.zeros((HORIZON - 1, 2))),
    "too wide": spoiled(robot_actions=np.zeros((HORIZON, 3))),
    "one-dimensional": spoiled(robot_actions=np.zeros(HORIZON)),
    "model NaN": spoiled(model_actions=np.full((HORIZON, 3), np.nan)),
    "model too narrow": spoiled(model_actions=np.zeros((HORIZON, 2))),
    "delay negative": spoiled(conditioned_delay=-1),
    "delay beyond the horizon": spoiled(conditioned_delay=HORIZON + 1),
    "no array": spoiled(robot_actions=None),
}


@pytest.mark.parametrize("output", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_a_bad_output_is_kept_from_its_robot_alone(output: PolicyOutput) -> None:
    """An output that is not finite, out of range or of another shape is INTERNAL; the others are served."""

    class Spoiled(ToyPolicy):
        def answer(self, item: PolicyInput) -> PolicyOutput:
            return output if item.task == "bad" else super().answer(item)

    served = serve(Spoiled(), batch("a", "bad", "c"))
    assert reasons(served.results) == [None, Reason.POLICY_FAILED, None]
    refused = served.results[1]
    assert isinstance(refused, Refused)
    assert refused.status is Status.INTERNAL
    assert "\n" not in str(refused)


def test_an_output_without_model_actions_is_fine() -> None:
    """A policy without units of its own is served."""

    class Plain(ToyPolicy):
        def answer(self, item: PolicyInput) -> PolicyOutput:
            return spoiled(model_actions=None)

    assert reasons(serve(Plain(), batch("a")).results) == [None]


def test_a_small_overshoot_is_the_clients_to_clip() -> None:
    """A value a little outside its limits passes, and a dimension without limits takes any."""
    loose = ActionSpec((Dimension("pan", "deg", low=-90.0, high=90.0), Dimension("free", "m")))

    class Overshoots(ToyPolicy):
        def answer(self, item: PolicyInput) -> PolicyOutput:
            return spoiled(robot_actions=np.tile([120.0, 1e6], (HORIZON, 1)))

    assert reasons(serve(Overshoots(replace(SPEC, action=loose)), batch("a")).results) == [None]


def test_the_wrong_number_of_outputs_fails_the_policy() -> None:
    """A policy that loses an input is refused, not served in a shifted order."""

    class Forgetful(ToyPolicy):
        def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
            return super().infer(batch)[1:]

    assert reasons(serve(Forgetful(), batch("a", "b")).results) == [Reason.POLICY_FAILED] * 2


def test_a_panic_of_native_code_is_a_failed_request() -> None:
    """What is raised outside of Exception, as native code's panics are, is refused like any failure."""

    class Panic(BaseException):
        pass

    class Panicking(ToyPolicy):
        def before(self, batch: Sequence[PolicyInput]) -> None:
            raise Panic

    assert reasons(serve(Panicking(), batch("a")).results) == [Reason.POLICY_FAILED]
