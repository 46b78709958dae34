"""The policies that a server was started with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.errors import ConfigError
from segue.server.refused import Refused, Status
from segue.server.store import PolicyStore
from segue.wire.refusal import Reason
from tests.unit.server.toy_policy import SPEC, ToyPolicy


def test_policies_are_loaded_warm_and_offered_in_order() -> None:
    """Each path is loaded on the device and warmed up once; the first is the server's own choice."""
    asked: list[tuple[str, str]] = []
    made: dict[str, ToyPolicy] = {}

    def load(path: str, device: str) -> ToyPolicy:
        asked.append((path, device))
        made[path] = ToyPolicy(replace(SPEC, name=path))
        return made[path]

    store = PolicyStore(load, ["b", "a"], "cpu")
    assert store.specs() == ()
    store.load()
    assert asked == [("b", "cpu"), ("a", "cpu")]
    assert all(policy.warm for policy in made.values())
    assert [spec.name for spec in store.specs()] == ["b", "a"]
    assert store.resolve("").name == "b"
    assert store.resolve("a").name == "a"
    assert store.policy("a") is made["a"]


def test_two_policies_of_one_name_are_refused_at_start() -> None:
    """A server does not start with two policies that clients could not tell apart."""
    store = PolicyStore(lambda path, device: ToyPolicy(), ["x", "y"], "cpu")
    with pytest.raises(ConfigError, match="named toy"):
        store.load()


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "toy/../../x", "/etc/passwd", "~/x", "https://host/x", "hf://a/b", "..\\x", "\0"],
)
def test_a_path_or_address_is_never_opened_for_a_client(name: str) -> None:
    """A client that names a path or an address is denied, and nothing is loaded."""
    loads: list[str] = []
    policy = ToyPolicy()
    store = PolicyStore(lambda path, device: loads.append(path) or policy, ["toy"], "cpu")
    store.load()
    with pytest.raises(Refused) as refused:
        store.resolve(name)
    assert refused.value.status is Status.PERMISSION_DENIED
    assert loads == ["toy"]


@pytest.mark.parametrize("name", ["builtin:other", "someone/model", "Toy"])
def test_a_name_that_is_not_offered_is_refused_with_those_that_are(name: str) -> None:
    """A client that names a policy not offered is told which are."""
    store = PolicyStore.of(ToyPolicy())
    store.load()
    with pytest.raises(Refused, match="server offers toy") as refused:
        store.resolve(name)
    assert refused.value.refusal.reason is Reason.POLICY_UNKNOWN
