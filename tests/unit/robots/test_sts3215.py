from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.robots import sts3215
from segue.robots.sts3215 import REGISTERS, Register, Status


@pytest.mark.parametrize(
    ("register", "value", "bytes_hex"),
    [
        (sts3215.GOAL_POSITION, 2048, "0008"),
        (sts3215.GOAL_POSITION, -1, "0180"),
        (sts3215.HOMING_OFFSET, -5, "0508"),
        (sts3215.PRESENT_LOAD, -300, "2c05"),
        (sts3215.TORQUE_ENABLE, 1, "01"),
        (sts3215.MAX_TORQUE, 500, "f401"),
    ],
)
def test_registers_are_low_byte_first_with_a_sign_bit_of_their_own(
    register: Register, value: int, bytes_hex: str
) -> None:
    """Values are sign and magnitude, and each register has its own sign bit."""
    assert register.encode(value).hex() == bytes_hex
    assert register.decode(bytes.fromhex(bytes_hex)) == value


@given(st.sampled_from(list(REGISTERS.values())), st.integers(-70_000, 70_000))
def test_what_fits_is_read_back_and_what_does_not_is_refused(register: Register, value: int) -> None:
    """A value is either kept exactly or refused; it is never cut."""
    bits = 8 * register.size if register.sign_bit is None else register.sign_bit
    if value >= 1 << bits or value < (0 if register.sign_bit is None else 1 - (1 << bits)):
        with pytest.raises(ValueError, match=register.name):
            register.encode(value)
    else:
        assert register.decode(register.encode(value)) == value
        assert len(register.encode(value)) == register.size


def test_registers_do_not_overlap() -> None:
    """No two registers of the table share a byte."""
    taken = [a for r in REGISTERS.values() for a in range(r.address, r.address + r.size)]
    assert len(taken) == len(set(taken))
    assert max(taken) < sts3215.MEMORY_BYTES


def test_status_bits_have_words() -> None:
    """Every bit that a servo sets is said in words."""
    assert Status(36).words() == "too hot, overloaded"
    assert all(bit.words() for bit in Status)
    assert Status(0).words() == ""
