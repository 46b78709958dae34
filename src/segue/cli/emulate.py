"""`segue emulate`: plays the servos of an arm on a serial port, for rehearsals without the arm.

The first line that it prints is the path of the port. Then it takes commands
on standard input, a line each, and answers each with a line; `help` lists them.
The end of the input ends it, as Ctrl-C and SIGTERM do. In a process of its own
it answers as fast as the wire: nothing else holds the interpreter.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from segue.cli.breakoff import breaking_off
from segue.cli.help import ASKING, Page
from segue.cli.writer import show
from segue.config.emulate import EmulateConfig
from segue.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from segue.testing.feetech_bus import FeetechBus
    from segue.testing.servo_line import Write

PAGE = Page(
    verb="emulate",
    summary="plays the servos of an arm that is not there, on a serial port",
    examples=(
        "segue emulate so101",
        "segue emulate so101 --link=/tmp/arm --save_calibration=/tmp/rehearsal.json",
        "segue run --robot.type=so101_follower --robot.port=/tmp/arm --robot.id=rehearsal "
        "--robot.calibration_dir=/tmp   (in another terminal)",
    ),
    config=EmulateConfig,
)

LOG_HEADER = "mono_ns,servo,register,value\n"
# How often a simulated arm is moved on while nobody asks: one step of its physics.
_BELT_PAUSE_S = 0.002
_STDIN = 0
_MOST_BYTES = 4096


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``emulate``, the arm's name first.

    Raises:
        ConfigError: the arm, a flag or a file is wrong.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    arm, *flags = argv or ("",)
    if arm not in ARMS:
        raise UsageError(f"emulate: {arm!a}: expected the name of an arm first: {', '.join(ARMS)}")
    loaded = load(EmulateConfig, flags)
    with loaded.blaming_flags(), breaking_off(), ExitStack() as stack:
        _run(loaded.config, ARMS[arm](loaded.config), stack)
    return 0


def _run(config: EmulateConfig, bus: FeetechBus, stack: ExitStack) -> None:
    from segue.client.realtime import freeze_garbage
    from segue.testing.bus_commands import obey

    if config.log is not None:
        bus.line.on_write = stack.enter_context(_writing(config.log))
    freeze_garbage()  # a collection would be a late answer
    stack.enter_context(bus)
    show(bus.port)
    if bus.refusal is not None:
        print(f"segue emulate: {bus.refusal}; answers may be late", file=sys.stderr)
    if sys.stdin is not None and sys.stdin.isatty():
        print("segue emulate: type what is to go wrong, such as `unplug`; `help` lists all", file=sys.stderr)
    for line in _lines():
        show(obey(bus, line))


def _lines() -> Iterator[str]:
    """Yields the lines of standard input; a signal that comes at any moment ends the wait for one."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    # Without it a signal just before the wait would be heeded only after it.
    before = signal.set_wakeup_fd(wake)
    rest = b""
    try:
        while True:
            select.select([_STDIN, woken], [], [])
            data = os.read(_STDIN, _MOST_BYTES)
            *lines, rest = (rest + data).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in lines)
            if not data or len(rest) > _MOST_BYTES:
                return
    except OSError:  # started without a standard input
        return
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[Write], None]]:
    """Yields what puts one write into the file at `path`."""
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"log: {path}: cannot be written: {error.strerror}") from error
    with file:
        file.write(LOG_HEADER)

        def note(write: Write) -> None:
            file.write(",".join(map(str, write)) + "\n")

        yield note


def _so101(config: EmulateConfig) -> FeetechBus:
    from segue.robots.calibration import load_calibration, save_calibration
    from segue.testing.feetech_bus import PAUSE_S, FeetechBus
    from segue.testing.servo_arm import default_calibration

    calibration = (
        default_calibration() if config.calibration is None else load_calibration(config.calibration)
    )
    if config.save_calibration is not None:
        save_calibration(config.save_calibration, calibration)
    if config.belt:
        from segue.testing.servo_mirror import belt_servos

        servos = belt_servos(calibration, config.seed)
    else:
        from segue.testing.servo_arm import so101_servos

        servos = so101_servos(calibration, config.role)
    from segue.testing.servo_line import ServoLine

    pause_s = _BELT_PAUSE_S if config.belt else PAUSE_S
    return FeetechBus(ServoLine(servos), config.link, config.realtime, pause_s)


ARMS: Mapping[str, Callable[[EmulateConfig], FeetechBus]] = MappingProxyType({"so101": _so101})
