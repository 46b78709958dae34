"""The ready line says what is served, and programs find the address in it."""

from __future__ import annotations

from segue.cli.serve import READY, Ready


def test_the_address_is_found_in_the_ready_line() -> None:
    """Whatever stands before and after it, IPv6 included."""
    for address in ("127.0.0.1:43521", "[::1]:8080"):
        said = f"something else\n{Ready(address, 'builtin:belt', 'cpu', 8.06, 300.0).line()}\n"
        found = READY.search(said)
        assert found is not None
        assert found[1] == address


def test_the_ready_line_says_policy_device_and_times() -> None:
    """One line has all of it, and a rehearsed latency only when there is one."""
    ready = Ready("127.0.0.1:1", "builtin:belt", "cpu", 8.06, 0.0)
    said = "policy builtin:belt on cpu, warm inference 8.1 ms"
    assert ready.line() == f"segue serve: ready on 127.0.0.1:1, {said}"
    slow = Ready("127.0.0.1:1", "builtin:belt", "cpu", 8.06, 300.0)
    assert slow.line().endswith("every request takes at least 300 ms")
