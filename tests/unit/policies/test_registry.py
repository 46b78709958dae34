"""Names and devices to policies, and what is said when there is no such thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from segue.core.resize import Fit
from segue.core.specs import CameraSpec
from segue.errors import ConfigError
from segue.policies.flow import FlowPolicy
from segue.policies.registry import MAX_FILE_BYTES, WEIGHTS, load_policy, resolve_device
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


def test_a_policy_on_disk_loads_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    """A weights file, and a folder that holds one, load as what they are."""
    file = tmp_path / "belt.safetensors"
    file.write_bytes((WEIGHTS / "belt.safetensors").read_bytes())
    for path in (file, tmp_path):
        loaded = load_policy(str(path), "cpu")
        assert loaded.spec.policy_hash == load_policy("builtin:belt", "cpu").spec.policy_hash


def test_a_folder_with_two_policies_asks_which(tmp_path: Path) -> None:
    """A folder that holds two weights files is refused with both names."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"a\.safetensors, b\.safetensors"):
        load_policy(str(tmp_path), "cpu")


def test_a_file_that_is_absurdly_large_is_not_read(tmp_path: Path) -> None:
    """A weights file beyond the bound is refused by its size alone."""
    with (tmp_path / "huge.safetensors").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigError, match="allowed are"):
        load_policy(str(tmp_path), "cpu")


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{}"])
def test_a_broken_file_is_refused(tmp_path: Path, data: bytes) -> None:
    """An empty file, a pickle, a header of 2^64 bytes and one without a policy are refused."""
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ConfigError, match="not a flow policy"):
        load_policy(str(tmp_path), "cpu")


def test_sizes_that_a_file_claims_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    """A weights file that claims a network of a million units is refused, and nothing is built."""
    with safe_open(WEIGHTS / "belt.safetensors", framework="np") as file:
        config = json.loads(file.metadata()["segue"])
    config["network"]["width"] = 1_000_000
    save_file({"x": np.zeros(1)}, tmp_path / "x.safetensors", {"segue": json.dumps(config)})
    with pytest.raises(ConfigError, match="width 1000000 is outside"):
        load_policy(str(tmp_path), "cpu")


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


def test_scripted_pictures_come_after_the_rate() -> None:
    """The scripted policy asks for the cameras, size and fit that its name lists, and says another hash."""
    policy = load_policy("builtin:scripted@30:front,wrist:320x224:pad_left_top")
    assert policy.spec.action_hz == 30.0
    assert policy.spec.observation.cameras == tuple(
        CameraSpec(name, 224, 320, fit=Fit.PAD_LEFT_TOP) for name in ("front", "wrist")
    )
    assert policy.spec.policy_hash != load_policy("builtin:scripted@30").spec.policy_hash


@pytest.mark.parametrize(
    "wishes",
    [
        "30:front",
        "30:front:224x224",
        "30:front:224:stretch",
        "30:front:0x224:stretch",
        "30:front:224x99999999999:stretch",
        "30:front:-224x224:stretch",
        "30:front:224x224:squeeze",
        "30:,front:224x224:stretch",
        "30:front,front:224x224:stretch",
        "30:a,b,c,d,e,f,g,h,i:224x224:stretch",
        "30:front:224x224:stretch:more",
    ],
)
def test_pictures_that_cannot_be_are_refused(wishes: str) -> None:
    """Too few or many parts, no such size or fit, a camera twice: each is said with what is allowed."""
    with pytest.raises(ConfigError, match=r"is not HZ:CAMERA,CAMERA:WIDTHxHEIGHT:FIT .* pad_left_top"):
        load_policy(f"builtin:scripted@{wishes}")
