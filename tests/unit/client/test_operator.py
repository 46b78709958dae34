"""Whoever comes to the desk of a run: several at once, and those who embed one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segue.client.episodes import Wish
from segue.client.launch import run_threaded
from segue.client.messages import Mark, Message, Stop
from segue.client.operator import Desk, Nobody, Together
from segue.core.facts import ExitReason
from segue.testing.robots import FakeRobot
from tests.unit.client.test_launch import address, plan_for

__all__ = ["address"]


def desk(heard: list[Message], has_room: bool = True) -> Desk:
    def tell(message: Message) -> bool:
        heard.append(message)
        return has_room

    return Desk(tell, lambda number: None)


class Guest:
    """An operator who says what happens to him."""

    def __init__(self, said: list[str], name: str, fails: bool = False) -> None:
        self.said, self.name, self.fails = said, name, fails

    @contextmanager
    def listen(self, desk: Desk) -> Iterator[None]:
        if self.fails:
            raise OSError(self.name)
        self.said.append(f"{self.name} comes")
        try:
            yield
        finally:
            self.said.append(f"{self.name} leaves")


def test_go_is_said_to_the_loop() -> None:
    """Who embeds a run says go by a method, and hears whether there was room."""
    heard: list[Message] = []
    assert desk(heard).go()
    assert not desk(heard, has_room=False).go()
    assert heard == [Mark(Wish.GO)] * 2


def test_several_operators_share_a_desk() -> None:
    """All come, and leave in the other order; nobody stays when one cannot come."""
    said: list[str] = []
    with Together(Guest(said, "a"), Nobody(), Guest(said, "b")).listen(desk([])):
        assert said == ["a comes", "b comes"]
    assert said[2:] == ["b leaves", "a leaves"]
    said.clear()
    with pytest.raises(OSError, match="c"):
        Together(Guest(said, "a"), Guest(said, "c", fails=True)).listen(desk([]))
    assert said == ["a comes", "a leaves"]


def test_an_embedded_run_has_an_operator_too(address: str) -> None:
    """What he says is obeyed, in one process as in two; an end before anything was executed is no 0."""

    class Ends(Guest):
        @contextmanager
        def listen(self, desk: Desk) -> Iterator[None]:
            desk.go()
            desk.tell(Stop(ExitReason.DONE))
            with super().listen(desk):
                yield

    said: list[str] = []
    outcome = run_threaded(plan_for(address, duration_ns=None), FakeRobot(), [], operator=Ends(said, "a"))
    assert (outcome.exit_code, outcome.reason, said) == (69, "no_answer", ["a comes", "a leaves"])
