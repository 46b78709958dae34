"""The picture is drawn from the records and shows what they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segue.tools.plot import queue_plot
from tests.unit.tools.samples import Model, write_run

pytest.importorskip("matplotlib")


def orange(path: Path) -> int:
    """Counts the pixels that are more orange than anything but a starved time is."""
    import numpy as np
    from PIL import Image

    red, _, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB")).astype(int), 2, 0)
    return int((red - blue > 60).sum())


def violet(path: Path) -> int:
    """Counts the pixels that are more blue than green, as only a held time is."""
    import numpy as np
    from PIL import Image

    red, green, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB")).astype(int), 2, 0)
    return int(((blue - green > 20) & (red > green)).sum())


def test_each_run_gets_a_row_of_the_same_size(tmp_path: Path) -> None:
    """More runs make a taller picture, not smaller rows."""
    from PIL import Image

    models = {"sync": Model(waits=True), "async": Model(), "rtc": Model(after=10)}
    runs = {name: write_run(tmp_path / name, model, seconds=5).path for name, model in models.items()}
    one = queue_plot({"rtc": runs["rtc"]}, tmp_path / "one.png")
    three = queue_plot(runs, tmp_path / "deep" / "three.png")
    (width, low), (same_width, high) = Image.open(one).size, Image.open(three).size
    assert width == same_width
    assert high > 2 * low - 200


def test_a_starved_tick_of_ten_milliseconds_is_seen(tmp_path: Path) -> None:
    """One starved tick in a minute is a visible mark, beyond what the legend shows."""
    marks = {}
    for level in ("RUN", "STARVED"):
        folder = write_run(tmp_path / level, Model(), seconds=1)
        rows = [f"{k / 100},{40},{level if k == 3000 else 'RUN'},10" for k in range(6000)]
        folder.queue.write_text("t_s,queue_steps,level,delay_steps\n" + "\n".join(rows) + "\n")
        marks[level] = orange(queue_plot({"run": folder.path}, tmp_path / f"{level}.png"))
    assert marks["STARVED"] > marks["RUN"] + 100


def test_a_run_that_ended_at_once_is_drawn(tmp_path: Path) -> None:
    """A queue without a single row makes a picture, not an error."""
    folder = write_run(tmp_path / "run", Model(), seconds=0)
    assert queue_plot({"run": folder.path}, tmp_path / "queue.png").stat().st_size > 1000


def test_importing_the_report_costs_nothing() -> None:
    """The libraries that draw are loaded by drawing alone."""
    code = (
        "import sys, segue.tools.report; "
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'imageio', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_held_times_are_shaded_and_counted(tmp_path: Path) -> None:
    """Holding and parking are drawn in a colour of their own, and their ticks are in the caption."""
    pictures = {}
    for level in ("RUN", "HOLD", "PARK"):
        folder = write_run(tmp_path / level, Model(), seconds=1)
        rows = [f"{k / 100},{0},{level if k > 300 else 'RUN'},10" for k in range(600)]
        folder.queue.write_text("t_s,queue_steps,level,delay_steps\n" + "\n".join(rows) + "\n")
        pictures[level] = violet(queue_plot({"run": folder.path}, tmp_path / f"{level}.png"))
    assert pictures["HOLD"] > pictures["RUN"] + 10_000
    assert pictures["PARK"] > pictures["RUN"] + 10_000
