from __future__ import annotations

import pytest

from segue.testing.nat import Mapping, Nat


def test_a_mapping_lives_as_long_as_it_is_used() -> None:
    """Something every 30 s goes through for ever when 30 s are remembered, whichever way it goes."""
    mapping = Mapping(Nat(after_s=30.0), 0.0)
    assert all(mapping.carries(30.0 * k) for k in range(1, 1000))
    assert not mapping.forgotten


def test_a_forgotten_mapping_never_comes_back() -> None:
    """After a silence that was too long nothing goes through any more, however lively, and nobody is told."""
    mapping = Mapping(Nat(after_s=30.0), 0.0)
    assert [mapping.carries(at_s) for at_s in (30.1, 30.2, 30.3)] == [False, False, False]
    assert mapping.forgotten


def test_a_router_may_say_that_it_forgot() -> None:
    """One that resets does so at whatever is sent after the silence, and not before."""
    mapping = Mapping(Nat(after_s=5.0, resets=True), 0.0)
    assert mapping.carries(5.0)
    with pytest.raises(ConnectionResetError):
        mapping.carries(10.1)


def test_a_router_that_no_longer_forgets_keeps_what_it_knows() -> None:
    """When forgetting ends, known connections live for ever, and those that were forgotten stay so."""
    nat = Nat(after_s=5.0)
    lost, kept = Mapping(nat, 0.0), Mapping(nat, 0.0)
    assert not lost.carries(6.0)
    nat.after_s = 0.0
    assert kept.carries(1e6)
    assert not lost.carries(1e6)
