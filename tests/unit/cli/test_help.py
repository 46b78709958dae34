"""The help page lists every flag once, with default, choice and meaning."""

from __future__ import annotations

import re

import pytest

from segue.cli.demo import PAGE as DEMO
from segue.cli.help import Page
from segue.cli.run import PAGE as RUN
from segue.cli.serve import PAGE as SERVE
from segue.config.schema import leaves


@pytest.mark.parametrize("page", [RUN, SERVE, DEMO], ids=lambda page: page.verb)
def test_every_flag_is_listed_once(page: Page) -> None:
    """What can be set is on the page, once, and nothing else is."""
    listed = re.findall(r"^  --(\S+)", page.text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {leaf.key for leaf in leaves(page.config)} | {"config_path"}


def test_a_flag_shows_choices_default_and_meaning() -> None:
    """One entry has all that is needed to use the flag."""
    entry = (
        "  --strategy  one of auto, rtc, async, sync  [default: auto]\n"
        "      rtc continues the plan, async replaces or blends it, sync waits; "
        "auto is rtc where the policy offers it, else async\n"
    )
    assert entry in RUN.text()


def test_what_robots_share_comes_before_what_one_of_them_has() -> None:
    """The type leads and is required, then the shared flags, then each type's own under its name."""
    text = RUN.text()
    places = [text.index(part) for part in ("--robot.type", "--robot.id", "With --robot.type=sim_so101")]
    assert places == sorted(places)
    assert "--robot.type  one of sim_so101, fake, so101_follower, so100_follower  [required]" in text
    both = text.index("With --robot.type=so101_follower, so100_follower: An SO-101 follower arm")
    assert both < text.index("--robot.port")


def test_the_cameras_of_the_simulation_are_said() -> None:
    """Who gives no cameras learns which there will be."""
    text = RUN.text()
    assert "sim_so101 without any brings its own three: top, front, wrist" in text


def test_lines_fit_a_wide_terminal() -> None:
    """No line is longer than 140 characters."""
    assert max(len(line) for page in (RUN, SERVE, DEMO) for line in page.text().splitlines()) <= 140
