"""The policies that this server was started with, by name.

A client may name one of them and nothing else: a path, an address or a hub
name from a client is never opened, whatever it points to. Loading takes a
callable, so this room needs no idea of checkpoints or frameworks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segue.core.specs import PolicySpec
from segue.errors import ConfigError
from segue.policies.base import Policy
from segue.server.refused import Refused
from segue.wire.refusal import Reason

Loader = Callable[[str, str], Policy]  # (path, device) -> policy

_PATH_MARKS = ("..", "//", "\\", "~", "\0")


class PolicyStore:
    """Loads policies once, then answers which there are."""

    def __init__(self, loader: Loader, paths: Sequence[str], device: str) -> None:
        """Loads nothing yet.

        Args:
            loader: returns the policy at a path, not yet warm.
            paths: what to load; the first is the server's own choice.
            device: as the loader takes it.
        """
        self._loader = loader
        self._paths = tuple(paths)
        self._device = device
        self._policies: dict[str, Policy] = {}

    @classmethod
    def of(cls, policy: Policy) -> PolicyStore:
        """Returns a store that holds one policy that is already there."""
        return cls(lambda path, device: policy, [policy.spec.name], "")

    def load(self) -> None:
        """Loads and warms up everything; called on the thread that will own the policies.

        Raises:
            ConfigError: two of them have the same name, or the loader says so.
        """
        loaded: dict[str, Policy] = {}
        for path in self._paths:
            policy = self._loader(path, self._device)
            if policy.spec.name in loaded:
                raise ConfigError(f"policy.path: two policies are named {policy.spec.name}")
            policy.warm_up()
            loaded[policy.spec.name] = policy
        self._policies = loaded

    def specs(self) -> tuple[PolicySpec, ...]:
        """Returns the specs of all policies, the server's own choice first; none before `load`."""
        return tuple(policy.spec for policy in self._policies.values())

    def policy(self, name: str) -> Policy:
        """Returns the policy called `name`, one of those in `specs`."""
        return self._policies[name]

    def device(self, name: str) -> str:
        """Returns where the policy called `name` computes, as it says itself; empty when it does not."""
        return str(getattr(self._policies[name], "device", ""))

    def resolve(self, name: str) -> PolicySpec:
        """Returns the spec of the policy that a client named; empty means the server's own choice.

        Raises:
            Refused: the name is a path or an address, or is not offered here.
        """
        if not name:
            return next(iter(self._policies.values())).spec
        if name in self._policies:
            return self._policies[name].spec
        if name.startswith("/") or any(mark in name for mark in _PATH_MARKS):
            raise Refused(Reason.FORBIDDEN, "policy: a path or an address is never opened for a client")
        offered = ", ".join(self._policies)
        raise Refused(Reason.POLICY_UNKNOWN, f"policy: client asks for {name!a}, server offers {offered}")
