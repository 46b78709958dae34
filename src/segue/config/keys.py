"""The configuration of `segue keys`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import annotated_types as at

from segue.config.constraints import PlainPath, Text
from segue.config.schema import Help

Days = Annotated[int, at.Interval(ge=1, le=3650)]


@dataclass(frozen=True, kw_only=True)
class KeysConfig:
    """What is made, and where."""

    output_dir: Annotated[PlainPath, Help("folder of the keys; made if it is not there")] = Path("keys")
    host: Annotated[
        Text,
        Help("by which robots call the server, with commas between; empty means this machine's own",
             "host names and IP addresses"),
    ] = ""  # fmt: skip
    days: Annotated[Days, Help("until certificates and token expire")] = 365
    force: Annotated[bool, Help("replaces keys that are there")] = False

    def resolve(self, given: frozenset[str]) -> KeysConfig:
        """Returns this configuration; nothing in it can contradict anything else."""
        return self
