"""The command `segue`: finds the verb, runs it, and turns what it raises into one line and an exit code.

A verb's module is imported only when it is asked for, so `segue run` never pays
for the server's libraries. Whoever scripts this command can rely on the exit
codes in `segue.errors`; a traceback is shown to those who ask by ``--debug``.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from segue import __version__
from segue.cli.writer import say_last
from segue.config.refusal import nearest
from segue.errors import SegueError

EXIT_USAGE = 64
EXIT_BUG = 70
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_PIPE_CLOSED = 128 + signal.SIGPIPE


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb lives (a module with `main(argv) -> int`) and what it does."""

    module: str
    summary: str


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "run": Verb("segue.cli.run", "drives a robot with actions from a policy server"),
        "replay": Verb("segue.cli.replay", "moves an arm along a recorded run, slowly"),
        "serve": Verb("segue.cli.serve", "serves a policy to robots"),
        "demo": Verb("segue.cli.demo", "shows all strategies on a simulated arm and compares them"),
        "bench": Verb(
            "segue.cli.bench", "measures overhead, lateness, memory and bytes beside bare controls"
        ),
        "emulate": Verb("segue.cli.emulate", "plays the servos of an arm that is not there"),
        "calibrate": Verb("segue.cli.calibrate", "finds the middle and the limits of an arm's joints"),
        "find-port": Verb("segue.cli.find_port", "lists serial ports and what answers on each"),
        "find-cameras": Verb("segue.cli.find_cameras", "shows which cameras there are and what they see"),
        "check": Verb("segue.cli.check", "looks at an arm and its cameras before a run; moves nothing"),
        "release": Verb("segue.cli.release", "frees an arm that was left holding itself"),
        "keys": Verb("segue.cli.keys", "makes certificates and a token for a secure link"),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        argv: the words after `segue`; None takes those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # Read when gRPC is first imported; it would write a line of its own about every bad handshake.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        return _dispatch(words)
    except SegueError as error:
        if debug:
            raise
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away (`segue run --help | head`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except Exception as error:
        if debug:
            raise
        _say(f"a bug, please report it: {type(error).__name__}: {error} (`segue --debug …` shows where)")
        return EXIT_BUG


def _dispatch(words: list[str]) -> int:
    if len(words) > 1 and words[0] == "help":
        words = [words[1], "--help"]
    if not words or words[0] in ("--help", "-h", "help"):
        print(_usage())
        return 0 if words else EXIT_USAGE
    if words[0] in ("--version", "version"):
        print(f"segue {__version__}")
        return 0
    verb = VERBS.get(words[0])
    if verb is None:
        _say(f"{words[0]!a}: no such verb; expected one of {', '.join(VERBS)}{nearest(words[0], VERBS)}")
        return EXIT_USAGE
    return int(importlib.import_module(verb.module).main(words[1:]))


def _usage() -> str:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name:<{width}}{verb.summary}" for name, verb in VERBS.items())
    tail = "`segue VERB --help` lists a verb's flags; `segue --version` says the version."
    return f"usage: segue VERB [--key=value …]\n\n{verbs}\n\n{tail}"


def _say(message: str) -> None:
    line = " ".join(message.splitlines())
    say_last(f"segue: {line}".encode("utf-8", "backslashreplace").decode())


if __name__ == "__main__":
    sys.exit(main())
