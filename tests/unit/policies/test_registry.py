"""Names and devices to policies, and what is said when there is no such thing."""

from __future__ import annotations

import pytest
import torch

from segue.errors import ConfigError
from segue.policies.flow import FlowPolicy
from segue.policies.registry import load_policy, resolve_device
from segue.policies.scripted import ScriptedPolicy


def test_built_in_policies_load_by_name() -> None:
    """`builtin:belt` is the trained flow policy, `builtin:scripted` the one without a network."""
    belt, scripted = load_policy("builtin:belt", "cpu"), load_policy("builtin:scripted")
    assert isinstance(belt, FlowPolicy)
    assert isinstance(scripted, ScriptedPolicy)
    assert (belt.spec.name, scripted.spec.name) == ("builtin:belt", "builtin:scripted")


def test_scripted_rate_comes_after_the_at_sign() -> None:
    """`builtin:scripted` runs at 10 Hz, `builtin:scripted@25` at 25 Hz."""
    assert load_policy("builtin:scripted").spec.action_hz == 10.0
    assert load_policy("builtin:scripted@25").spec.action_hz == 25.0


def test_a_network_says_where_it_computes() -> None:
    """The loaded policy names the device that it really is on."""
    belt = load_policy("builtin:belt", "cpu")
    assert isinstance(belt, FlowPolicy)
    assert belt.device == "cpu"


@pytest.mark.parametrize("name", ["", "belt", "builtin:Belt", "builtin:belt@30", "some/checkpoint"])
def test_unknown_policy_lists_what_is_allowed(name: str) -> None:
    """An unknown name is repeated, and every name that would do is listed."""
    with pytest.raises(ConfigError, match=r"allowed are builtin:belt, builtin:scripted") as refusal:
        load_policy(name)
    assert repr(name) in str(refusal.value)


@pytest.mark.parametrize("rate", ["", "fast", "0", "-5", "nan", "inf"])
def test_wrong_rate_is_refused(rate: str) -> None:
    """A rate that is no number of Hz is repeated in the refusal."""
    with pytest.raises(ConfigError, match="Hz"):
        load_policy(f"builtin:scripted@{rate}")


def test_automatic_device_is_one_that_is_here() -> None:
    """`auto` is the first GPU where there is one, else the CPU."""
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "CPU"])
def test_missing_device_lists_what_is_here(device: str) -> None:
    """A device that does not exist is refused with those that do."""
    with pytest.raises(ConfigError, match="allowed are auto, cpu"):
        resolve_device(device)
