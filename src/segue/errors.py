"""Everything Segue raises on purpose, in one tree.

    SegueError
    ├── ConfigError          a configuration file or value is wrong            exit 78
    │   └── UsageError       a command-line flag is wrong                      exit 64
    ├── SpecMismatch         robot and policy do not fit together              exit 76
    ├── LocalProtocolError   this side broke the rules: a bug here             exit 70
    ├── RemoteProtocolError  the peer broke the rules                          exit 76
    ├── LinkLost             the server has been away past the limit           exit 69
    ├── Overloaded           the server is full or draining                    exit 75
    ├── AuthenticationError  the peer does not know us, or we not the peer     exit 77
    ├── PolicyError          the policy failed or returned nonsense            exit 70
    ├── RobotFault           bus, servo or camera failed                       exit 74
    └── SafetyLatch          something unsafe was seen; a person must look     exit 80

A robot that runs dry is not here: starvation is a state, not an exception.
Nothing in this file prints or exits; `segue.cli` turns `exit_code` into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SegueError(Exception):
    """The root: catching it catches everything that Segue raises on purpose."""

    exit_code: ClassVar[int] = 70


class ConfigError(SegueError):
    """A configuration is wrong; the message names key, value and what is allowed."""

    exit_code = 78


class UsageError(ConfigError):
    """A command-line flag is wrong."""

    exit_code = 64


class SpecMismatch(SegueError):
    """Robot and policy do not fit; `differences` has one line each, with both sides."""

    exit_code = 76

    def __init__(self, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        super().__init__("; ".join(self.differences))


class LocalProtocolError(SegueError):
    """Something here was called out of order or with a wrong shape: a bug of ours."""


class RemoteProtocolError(SegueError):
    """The peer sent what the protocol does not allow."""

    exit_code = 76


class LinkLost(SegueError):
    """The server has not answered for longer than the offline limit."""

    exit_code = 69


class Overloaded(SegueError):
    """The server is full or draining; another replica or a later try may do."""

    exit_code = 75


class AuthenticationError(SegueError):
    """A certificate or token was missing or wrong."""

    exit_code = 77


class PolicyError(SegueError):
    """The policy failed, or its output was not finite or not of its own shape."""


class RobotFault(SegueError):
    """The robot's bus, a servo or a camera failed."""

    exit_code = 74


class SafetyLatch(SegueError):
    """Something unsafe was seen and latched; a person has to look."""

    exit_code = 80
