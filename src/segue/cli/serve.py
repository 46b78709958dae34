"""`segue serve`: serves a policy to robots, and says in one line when it is ready.

The line goes to standard output and is for programs too: `READY` finds the
address in it. Whatever else there is to say goes to standard error.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from segue.cli.help import ASKING, Page
from segue.cli.writer import Writer, WriterHandler, show
from segue.config.serve import ServeConfig

READY = re.compile(r"^segue serve: ready on (\S+),", re.MULTILINE)

PAGE = Page(
    verb="serve",
    summary="serves a policy to robots",
    examples=(
        "segue serve --policy.path=builtin:belt --port=8080",
        "segue serve --port=0 --inference_latency=0.3",
    ),
    config=ServeConfig,
)


@dataclass(frozen=True, slots=True)
class Ready:
    """What there is to say of a server that is ready.

    Attributes:
        address: ``host:port`` as really bound.
        warm_inference_ms: one inference of a warm policy.
        latency_ms: what every request takes at least; 0 without a rehearsal.
    """

    address: str
    policy: str
    device: str
    warm_inference_ms: float
    latency_ms: float

    def line(self) -> str:
        """Returns it in one line, in which `READY` finds the address."""
        rehearsed = f", every request takes at least {self.latency_ms:.0f} ms" if self.latency_ms else ""
        served = f"policy {self.policy} on {self.device}, warm inference {self.warm_inference_ms:.1f} ms"
        return f"segue serve: ready on {self.address}, {served}{rehearsed}"


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``serve``.

    Raises:
        ConfigError: a flag, the file, the policy or the address is wrong.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.cli import build
    from segue.config.load import load_serve

    loaded = load_serve(argv)
    # The server warns through the log, of an address that others can reach among other things.
    # A log that nobody reads any more must not hold up a robot, nor the end.
    writer = Writer(sys.stderr)
    logging.basicConfig(
        level=logging.INFO, handlers=[WriterHandler(writer)], format="segue serve: %(message)s"
    )
    for note in loaded.notes:
        writer.put(f"segue serve: {note}\n")
    try:
        with loaded.blaming_flags():
            return build.serve(loaded.config, lambda ready: show(ready.line()))
    finally:
        writer.close()
