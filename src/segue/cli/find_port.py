"""`segue find-port`: one line for each serial port, with what answers on it.

With `--unplug=true` it is found as LeRobot's users find it, by pulling the
cable. Both say the port's lasting name, too: `/dev/ttyACM0` is whoever was
plugged in first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from segue.cli.help import ASKING, Page
from segue.config.find_port import FindPortConfig
from segue.errors import ConfigError, RobotFault

if TYPE_CHECKING:
    from segue.tools.calibrate import Person
    from segue.tools.find_port import PortFacts, ServoFacts

PAGE = Page(
    verb="find-port",
    summary="lists serial ports and what answers on each",
    examples=("segue find-port", "segue find-port --unplug=true", "segue find-port --port=/tmp/arm"),
    config=FindPortConfig,
)

NOTHING = "nothing answers at 1 Mbaud; is it an arm's board, and the arm's power on?"
UNKNOWN_OWNER = "follower or leader cannot be told"
_MISSING = "serial ports need the package pyserial: pip install 'segue[so101]'"
# The device goes some tenths of a second after the cable.
_UNPLUG_TRIES, _UNPLUG_PAUSE_S = 20, 0.1


def main(argv: Sequence[str]) -> int:
    """Runs the verb and returns its exit code.

    Args:
        argv: the words after ``find-port``.

    Raises:
        ConfigError: a flag is wrong.
        RobotFault: no arm was found.
    """
    if ASKING.intersection(argv):
        print(PAGE.text())
        return 0
    from segue.config.load import load

    config = load(FindPortConfig, argv).config
    try:
        from segue.tools.find_port import serial_ports
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "serial":
            raise
        raise ConfigError(_MISSING) from None
    further = [path.strip() for path in config.port.split(",") if path.strip()]

    def ports() -> tuple[str, ...]:
        return serial_ports(further)

    if config.unplug:
        from segue.cli.terminal import Terminal

        by_unplugging(ports, Terminal(PAGE.verb))
    else:
        by_asking(ports(), os.environ)
    return 0


def by_asking(ports: Sequence[str], environ: Mapping[str, str]) -> None:
    """Prints a line for each port.

    Raises:
        RobotFault: no arm answers on any of them.
    """
    from segue.robots.calibration import calibration_root
    from segue.tools.find_port import look_at

    arms = 0
    for path in ports:
        facts = look_at(path, calibration_root(environ))
        arms += facts.is_arm
        print(port_line(facts), flush=True)
    if not ports:
        raise RobotFault("there is no serial port here; plug in the arm's USB cable")
    if not arms:
        raise RobotFault("no arm answers on any port; look at its power, its cables and the lines above")


def by_unplugging(ports: Callable[[], tuple[str, ...]], person: Person) -> None:
    """Finds the port that goes when the person unplugs the arm.

    Raises:
        RobotFault: none went, or more than one.
    """
    from segue.tools.find_port import lasting_name

    before = {path: lasting_name(path) for path in ports()}
    person.tell(f"ports: {', '.join(before) or 'none'}")
    person.ask("Unplug the USB cable of the arm, then press ENTER.")
    gone = _gone(before, ports)
    if len(gone) != 1:
        seen = f"{' and '.join(gone)} went" if gone else "no port went away"
        raise RobotFault(f"{seen}; unplug one arm, after this command has listed the ports")
    lasting = before[gone[0]]
    person.tell(f"the arm is on {gone[0]}{f', always called {lasting}' if lasting else ''}; plug it in again")


def _gone(before: Mapping[str, str], ports: Callable[[], tuple[str, ...]]) -> list[str]:
    gone: list[str] = []
    for _ in range(_UNPLUG_TRIES):
        left = set(ports())
        gone = [path for path in before if path not in left]
        if gone:
            break
        time.sleep(_UNPLUG_PAUSE_S)
    return gone


def port_line(facts: PortFacts) -> str:
    """Returns what is to be said of one port."""
    name = f" ({facts.name})" if facts.name else ""
    return f"{facts.path}{name}: {facts.refusal or _what_answers(facts)}"


def _what_answers(facts: PortFacts) -> str:
    if not facts.servos:
        return facts.doubles or NOTHING
    servos = facts.servos
    parts = [f"{_who(facts)} ({_models(servos)})", _range([each.volts for each in servos], "V", ".1f")]
    parts.append(f"{max(each.celsius for each in servos)} °C at most")
    torque = [str(each.id) for each in servos if each.torque]
    if torque:
        parts.append("torque on" if len(torque) == len(servos) else f"torque on in {', '.join(torque)}")
    parts += [facts.owner or UNKNOWN_OWNER] if facts.is_arm else []
    return ", ".join(parts) + (f"; {facts.doubles}" if facts.doubles else "")


def _who(facts: PortFacts) -> str:
    from segue.robots.calibration import JOINT_IDS

    ids = [each.id for each in facts.servos]
    if facts.is_arm:
        return "arm with servos 1-6"
    here = f"servo{'s' if len(ids) > 1 else ''} {', '.join(map(str, ids))}"
    missing = [f"{servo} {name}" for name, servo in JOINT_IDS.items() if servo not in ids]
    return f"{here}, but not {', '.join(missing)} of an arm"


def _models(servos: Sequence[ServoFacts]) -> str:
    from segue.robots.sts3215 import MODEL_NUMBER

    kinds = {
        f"{'STS3215' if each.model == MODEL_NUMBER else f'model {each.model}'} firmware {each.firmware}"
        for each in servos
    }
    return " and ".join(sorted(kinds))


def _range(values: Sequence[float], unit: str, form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
