"""Whether an arm's servos may be told anything: there, each once, of the right kind, well, rightly supplied.

Every verb that writes registers or switches torque on comes through `check_ready`
first; a check before a run says the same, a line for each. Questions only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from segue.errors import ConfigError, RobotFault, SafetyLatch
from segue.robots import sts3215
from segue.robots.feetech import ServoBus
from segue.robots.so101_health import DANGERS, Limits, too_many_volts
from segue.robots.sts3215 import MODEL_NUMBER, Status

RELEASE = "support the arm and run `segue release` first"
_NEW_ID = (
    "disconnect one of them and give the other an id of its own with LeRobot's `lerobot-setup-motors`, "
    "which asks for one servo at a time"
)
# Two ids may each be there twice; where more are, it is the line, or a whole second arm.
_MOST_DOUBLES = 2


def check_ready(bus: ServoBus, ids: Mapping[str, int]) -> Limits:
    """Makes sure that the servos may be written to and be given torque.

    Args:
        bus: of the arm.
        ids: servos by joint.

    Returns:
        the least and the highest voltage that each servo allows itself, tenths of a volt, by id.

    Raises:
        RobotFault: a servo is missing, of another kind, there twice, or gets more volts than it may.
        SafetyLatch: one says that it is in danger already.
    """
    check_servos(bus, ids)
    return check_supply(bus, ids)


def check_servos(bus: ServoBus, ids: Mapping[str, int]) -> None:
    """Makes sure that every servo is there once, is of the right kind and is well.

    Raises:
        RobotFault: one is missing, there twice or of another kind; what answers instead is named.
        SafetyLatch: one says that it is in danger already.
    """
    doubles = bus.doubles(ids.values())
    found = {name: bus.ping(servo) for name, servo in ids.items() if servo not in doubles}
    missing = [name for name, status in found.items() if status is None]
    if doubles:
        raise RobotFault(doubles_words(doubles, ids, missing))
    if missing:
        raise RobotFault(_who_is_there(bus, ids, missing))
    for name, model in zip(ids, bus.read_all(list(ids.values()), sts3215.MODEL).values(), strict=True):
        if model != MODEL_NUMBER:
            says = f"is of model {model}, expected {MODEL_NUMBER}, an STS3215"
            raise RobotFault(f"{name} (servo {ids[name]}) {says}")
    for name, status in found.items():
        danger = Status(status or 0) & DANGERS
        if danger:
            raise SafetyLatch(f"{name} (servo {ids[name]}) is {danger.words()}; {RELEASE} and let it rest")


def check_supply(bus: ServoBus, ids: Mapping[str, int]) -> Limits:
    """Makes sure that no servo gets more volts than it allows itself; too few are told elsewhere.

    Returns:
        the least and the highest voltage that each servo allows itself, tenths of a volt, by id.

    Raises:
        RobotFault: one gets more; each is named with what it gets and what it may have.
    """
    servos = list(ids.values())
    least, most = (bus.read_all(servos, each) for each in (sts3215.MIN_VOLTAGE, sts3215.MAX_VOLTAGE))
    limits = {servo: (least[servo], most[servo]) for servo in servos}
    # One look may be a spike.
    for _ in range(2):
        volts = bus.read_all(servos, sts3215.PRESENT_VOLTAGE)
        above = {
            f"{name} (servo {servo})": (volts[servo], most[servo])
            for name, servo in ids.items()
            if volts[servo] > most[servo]
        }
        if not above:
            return limits
    raise RobotFault(too_many_volts(above))


def check_counting(bus: ServoBus, ids: Mapping[str, int], file: str) -> None:
    """Makes sure that each servo counts within one turn, as every calibration means it.

    Raises:
        ConfigError: one counts beyond it, so that the file's numbers may mean another place.
        RobotFault: a servo does not answer.
    """
    phases = bus.read_all(list(ids.values()), sts3215.PHASE)
    beyond = [name for name, servo in ids.items() if phases[servo] & sts3215.MULTI_TURN]
    if beyond:
        listed = ", ".join(f"{name} (servo {ids[name]})" for name in beyond)
        count = "counts" if len(beyond) == 1 else "count"
        raise ConfigError(
            f"{file}: {listed} {count} beyond one turn (bit 4 of register {sts3215.PHASE.name} is set), so a "
            "calibration may mean another place than where the joint is; run `segue calibrate`, which clears "
            "the bit"
        )


def doubles_words(doubles: Mapping[int, bool], ids: Mapping[str, int], missing: Collection[str] = ()) -> str:
    """Returns for a person which ids are there twice, and what to do.

    Args:
        doubles: by id whether it is certain.
        ids: servos by joint.
        missing: joints whose servos do not answer.
    """
    names = {servo: name for name, servo in ids.items()}
    known = {servo: f"id {servo}" + (f" ({names[servo]})" if servo in names else "") for servo in doubles}
    listed = ", ".join(known.values())
    if len(doubles) > _MOST_DOUBLES and any(doubles.values()):
        return f"two servos answer to each of {listed}: are two arms on this bus? connect one of them alone"
    if len(doubles) > _MOST_DOUBLES:
        return (
            f"no answer from {listed} arrives whole: look at the cables and the power supply; two arms on "
            "one bus, or two servos of one id, garble each other's answers, too"
        )
    lost = ", ".join(f"{name} (servo {ids[name]})" for name in missing)
    says = [
        f"{'at least ' if len(missing) > 1 else ''}two servos answer to "
        f"{' and two to '.join(known.values())}: {_NEW_ID}"
    ]
    if lost:
        says.append(f"{lost} {'does' if len(missing) == 1 else 'do'} not answer, so look there first")
    if not all(doubles.values()):
        says.append("if there is only one, look at its cable: its answers arrive garbled")
    return "; ".join(says)


def _who_is_there(bus: ServoBus, ids: Mapping[str, int], missing: Collection[str]) -> str:
    """Returns who is missing, and who answers instead."""
    others = bus.scan()
    if not others:
        return "no servo answers; is the arm's power supply plugged in and switched on?"
    strangers = [servo for servo in others if servo not in ids.values()]
    doubles = bus.doubles(strangers)
    if doubles:
        return doubles_words(doubles, ids, missing)
    there = f"; instead there is servo {', '.join(map(str, strangers))}" if strangers else ""
    lost = ", ".join(f"{name} (servo {ids[name]})" for name in missing)
    return (
        f"no answer from {lost}{there}; servos that answer: {', '.join(map(str, others))}; "
        "look at the cable that leads to the missing one"
    )
