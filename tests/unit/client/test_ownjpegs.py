"""When a camera's own JPEGs are trusted, and when no longer."""

from __future__ import annotations

import pytest

from segue.client import ownjpegs
from segue.client.ownjpegs import OwnJpegs
from segue.clock import NS_PER_S
from segue.wire.image import is_sound
from segue.wire.records import EncodedImage, Encoding
from tests.unit.cameras.samples import jpegs

OWN = jpegs(1)[0]
WHOLE = EncodedImage(Encoding.JPEG, 48, 64, OWN)
DAMAGED = EncodedImage(Encoding.JPEG, 48, 64, OWN[:-2] + bytes(40) + OWN[-2:])


def test_a_camera_with_damaged_pictures_is_never_trusted_again() -> None:
    """After one damaged picture not even a whole one goes as it is; other cameras are not affected."""
    own = OwnJpegs(["front", "wrist"])
    assert not own.may_go("front", DAMAGED, 0)
    assert not own.may_go("front", WHOLE, 60 * NS_PER_S)
    assert own.may_go("wrist", WHOLE, 0)
    assert "front" in repr(own)


@pytest.mark.parametrize("first_bad", range(5))
def test_the_first_five_pictures_are_checked(first_bad: int) -> None:
    """Damage that some pictures do not show is found among the first five."""
    own = OwnJpegs(["front"])
    assert all(own.may_go("front", WHOLE, number) for number in range(first_bad))
    assert not own.may_go("front", DAMAGED, first_bad)


def test_a_camera_that_begins_to_damage_its_pictures_is_found_within_two_seconds() -> None:
    """Later one picture every two seconds is checked, so that a camera that becomes ill is noticed."""
    own = OwnJpegs(["front"])
    assert all(own.may_go("front", WHOLE, number) for number in range(5))
    last_ns = 4
    assert own.may_go("front", DAMAGED, last_ns + 2 * NS_PER_S - 1)
    assert not own.may_go("front", DAMAGED, last_ns + 2 * NS_PER_S)


def test_few_pictures_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes at ten requests a second cost five checks and one every two seconds."""
    looked = []
    monkeypatch.setattr(ownjpegs, "is_sound", lambda image: looked.append(image) or is_sound(image))
    own = OwnJpegs(["front"])
    assert all(own.may_go("front", WHOLE, number * NS_PER_S // 10) for number in range(6000))
    assert 295 <= len(looked) <= 305


def test_each_camera_is_named_once() -> None:
    """What was found is told at the next asking, and then no more."""
    own = OwnJpegs(["front", "wrist"])
    assert own.newly_damaged() == []
    own.may_go("wrist", DAMAGED, 0)
    assert own.newly_damaged() == ["wrist"]
    own.may_go("front", DAMAGED, 1)
    assert own.newly_damaged() == ["front"]
    assert own.newly_damaged() == []
