"""The policies of this server, by name: those that it was started with, and those below its policy folders.

A client may name a policy that is offered here, or one that lies below a root
that the server was started with: ``belt2`` is the folder or the safetensors
file of that name. Whatever else it names, a path, an address, a hub name, is
refused by its looks, before any file is touched; a link that leads out of a
root is refused as well. What a client names is loaded by the thread that loads
the policies, once; until then the handshake is answered NOT_READY. Loading
takes a callable, so this room needs no idea of checkpoints or frameworks.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segue.core.specs import PolicySpec
from segue.errors import ConfigError, RemoteProtocolError
from segue.policies.base import Policy, PolicyInput, PolicyOutput
from segue.server.refused import Refused
from segue.wire.refusal import Reason
from segue.wire.specs_codec import check_policy_spec

Loader = Callable[[str, str], Policy]  # (path, device) -> policy

_log = logging.getLogger("segue.server")

# Policies loaded because a client named them; each takes memory until the server ends.
MAX_NAMED = 4
# Files that could not be loaded, remembered until they change.
_MAX_BROKEN = 64
_PATH_MARKS = ("..", "//", "\\", "~", "\0", "%")
# Plain words between slashes: no drive, no address, nothing hidden.
_NAME = re.compile(r"\w[\w.@ -]*(/\w[\w.@ -]*)*", re.ASCII)
_SUFFIX = ".safetensors"

_OUTSIDE = "policy: only a policy below this server's folders is ever opened for a client"


class PolicyStore:
    """Loads policies once, then answers which there are."""

    def __init__(self, loader: Loader, paths: Sequence[str], device: str, roots: Sequence[Path] = ()) -> None:
        """Loads nothing yet.

        Args:
            loader: returns the policy at a path, not yet warm.
            paths: what to load; the first is the server's own choice.
            device: as the loader takes it.
            roots: folders below which a client may name policies.
        """
        self._loader = loader
        self._paths = tuple(paths)
        self._device = device
        self._roots = tuple(root.resolve() for root in roots)
        # Replaced and never changed in place: handlers read it while the policy's thread adds to it.
        self._policies: dict[str, Policy] = {}
        self._named = 0
        self._wanted: dict[str, Path] = {}
        self._naming = threading.Lock()
        self._broken: dict[Path, tuple[int, int]] = {}

    @classmethod
    def of(cls, policy: Policy) -> PolicyStore:
        """Returns a store that holds one policy that is already there."""
        return cls(lambda path, device: policy, [policy.spec.name], "")

    @property
    def wanted(self) -> bool:
        """Whether a client named a policy that is still to be loaded."""
        return bool(self._wanted)

    def load(self) -> None:
        """Loads and warms up everything; called on the thread that will own the policies.

        Raises:
            ConfigError: two of them have the same name, no robot would take one, a root is no folder,
                or the loader says so.
        """
        for root in self._roots:
            if not root.is_dir():
                raise ConfigError(f"policy.roots: {root} is not a folder")
        loaded: dict[str, Policy] = {}
        for path in self._paths:
            policy = self._loader(path, self._device)
            if policy.spec.name in loaded:
                raise ConfigError(f"policy.path: two policies are named {policy.spec.name}")
            policy.warm_up()
            _check_offered(policy, path)
            loaded[policy.spec.name] = policy
        self._policies = loaded

    def load_one(self) -> str | None:
        """Loads one policy that a client named, and returns its name; called on one thread.

        A policy that cannot be loaded is logged in one line, and refused from then on until its
        file changes.
        """
        if not self._wanted:
            return None
        name, path = list(self._wanted.items())[0]  # noqa: RUF015 (handlers add to it meanwhile)
        try:
            policy = _Renamed(self._loader(str(path), self._device), name)
            policy.warm_up()
            _check_offered(policy, name)
        except BaseException as error:  # native code that reads weights may panic, which is no Exception
            _log.error(
                "policy %a, named by a client, cannot be loaded: %s", name, " ".join(str(error).split())
            )
            self._remember_broken(path)
            return None
        else:
            _log.info("policy %a, named by a client, is loaded", name)
            self._named += 1
            self._policies = {**self._policies, name: policy}
            return name
        finally:
            del self._wanted[name]

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
            Refused: the name is a path or an address, is not offered here, or is still to be loaded.
        """
        if not name:
            return next(iter(self._policies.values())).spec
        if name in self._policies:
            return self._policies[name].spec
        if name.startswith("/") or "://" in name or any(mark in name for mark in _PATH_MARKS):
            raise Refused(Reason.FORBIDDEN, _OUTSIDE)
        path = self._below_roots(name) if _NAME.fullmatch(name) else None
        if path is not None:
            self._want(name, path)
        if "/" in name:
            raise Refused(Reason.FORBIDDEN, _OUTSIDE)
        offered = ", ".join(self._policies)
        raise Refused(Reason.POLICY_UNKNOWN, f"policy: client asks for {name!a}, server offers {offered}")

    def _below_roots(self, name: str) -> Path | None:
        """Returns where the policy called `name` lies; None when there is no such policy.

        Raises:
            Refused: a link leads out of the root.
        """
        for root in self._roots:
            there = [found for found in (root / f"{name}{_SUFFIX}", root / name) if os.path.lexists(found)]
            for found in there:
                # A folder's files are looked at as well: they may be links.
                real = found.resolve()
                opened = (real, *(file.resolve() for file in real.glob(f"*{_SUFFIX}")))
                if not all(each.is_relative_to(root) for each in opened):
                    raise Refused(Reason.FORBIDDEN, _OUTSIDE)
                return real
        return None

    def _want(self, name: str, path: Path) -> None:
        """Has `path` loaded, and refuses for now.

        Raises:
            Refused: always; the reason says whether to come back.
        """
        if self._broken.get(path) == _version(path):
            raise Refused(
                Reason.POLICY_UNKNOWN, f"policy: {name!a} cannot be loaded, the server's log says why"
            )
        with self._naming:  # handlers of several clients come at once
            if name not in self._wanted and self._named + len(self._wanted) >= MAX_NAMED:
                sentence = f"policy: {MAX_NAMED} policies were loaded for clients, no more fit"
                raise Refused(Reason.FULL, sentence)
            self._wanted.setdefault(name, path)
        raise Refused(Reason.NOT_READY, f"policy: {name!a} is being loaded")

    def _remember_broken(self, path: Path) -> None:
        if len(self._broken) >= _MAX_BROKEN:
            self._broken.clear()
        self._broken[path] = _version(path)


class _Renamed:
    """A policy under the name by which clients know it: files of two folders may call themselves the same."""

    def __init__(self, policy: Policy, name: str) -> None:
        self._policy = policy
        self._name = name
        self.device = str(getattr(policy, "device", ""))

    @property
    def spec(self) -> PolicySpec:
        return replace(self._policy.spec, name=self._name)

    def warm_up(self) -> None:
        self._policy.warm_up()

    def infer(self, batch: Sequence[PolicyInput]) -> list[PolicyOutput]:
        return self._policy.infer(batch)


def _check_offered(policy: Policy, path: str) -> None:
    """Refuses a policy here that every robot would refuse at its handshake.

    Raises:
        ConfigError: its spec is beyond what the protocol allows.
    """
    try:
        check_policy_spec(policy.spec)
    except RemoteProtocolError as error:
        raise ConfigError(f"policy.path: {path}: no robot would take this policy: {error}") from None


def _version(path: Path) -> tuple[int, int]:
    """Returns what changes when the file at `path` is written anew."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
