"""The queue and the delay of several runs over time, one row each, drawn with matplotlib.

All rows share their axes, so that a shorter queue looks shorter. Times that are
not as they should be are shaded: without an action, held, or about to be. They
are told apart by pattern as well as by colour; those of the curves are from Okabe
and Ito's palette, which most colour-blind people can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segue.client.messages import WAITING
from segue.core.watchdog import SafetyLevel
from segue.tools.records import QueueTrace, RunFolder, read_queue, read_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072B2", "#CC79A7", "#56B4E9", "#009E73", "#E69F00")
INK, FAINT = "#222222", "#8a8a8a"
DPI = 130


@dataclass(frozen=True, slots=True)
class Shade:
    """How a time at one of some levels is drawn."""

    levels: tuple[str, ...]
    label: str
    colour: str
    hatch: str

    @property
    def style(self) -> dict[str, Any]:
        """How matplotlib draws it; the edge keeps a single tick of 10 ms visible on an axis of a minute."""
        face, edge = (self.colour, 0.5), (self.colour, 1.0 if self.hatch else 0.0)
        return {"facecolor": face, "edgecolor": edge, "hatch": self.hatch, "linewidth": 0.9}


_HELD = (SafetyLevel.HOLD.name, SafetyLevel.FAULT.name, SafetyLevel.PARK.name)
SHADES = (
    Shade((WAITING,), "waiting for a chunk (start, or the pause of sync)", "#bdbdbd", ""),
    Shade((SafetyLevel.DEGRADED.name,), "degraded: requests fail", "#fbf3b5", ""),
    Shade((SafetyLevel.STARVED.name,), "starved: ran dry while moving", "#D55E00", "////"),
    Shade(_HELD, "held (or parked)", "#7f6fb0", "\\\\"),
)


def queue_plot(run_dirs: Mapping[str, Path], png: Path) -> Path:
    """Draws queue size and delay over time of each run and returns where it lies.

    Args:
        run_dirs: name of the strategy to the folder of its run.
        png: where to write.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folders = {name: RunFolder(path) for name, path in run_dirs.items()}
    traces = {name: read_queue(folder) for name, folder in folders.items()}
    with rc_context({"font.size": 11, "axes.edgecolor": FAINT, "hatch.linewidth": 0.6}):
        # Built without pyplot: no global figure, no window system.
        figure = Figure(figsize=(13, 1.2 + 1.85 * len(traces)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(traces), 2, sharex="all", sharey="col", squeeze=False)
        for row, name, colour in zip(axes, folders, _colours(len(folders)), strict=True):
            _draw(row, traces[name], colour)
            row[0].set_title(name, loc="left", fontsize=12, fontweight="bold", color=INK)
            row[0].set_title(_without_action(folders[name]), loc="right", fontsize=9.5, color=INK)
        _dress(figure, axes, list(traces.values()))
        png.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(png, dpi=DPI)
    return png


def _draw(row: Sequence[Axes], trace: QueueTrace, colour: str) -> None:
    queue, delay = row
    for shade in SHADES:
        for begin, end in (span for level in shade.levels for span in trace.spans(level)):
            for axis in row:
                axis.axvspan(begin, end, **shade.style)
    queue.fill_between(trace.t_s, trace.queue_steps, step="post", color=colour, alpha=0.25, linewidth=0)
    queue.step(trace.t_s, trace.queue_steps, where="post", color=colour, linewidth=1.1)
    delay.step(trace.t_s, trace.delay_steps, where="post", color=colour, linewidth=1.6)


def _without_action(folder: RunFolder) -> str:
    """Returns how many ticks had no action of a plan; nothing when the run was killed before it could say."""
    if not folder.summary.exists():
        return ""
    summary = read_summary(folder)
    kinds = ("waiting", "starved", "held")
    return "without an action: " + ", ".join(f"{summary[f'{kind}_ticks']} {kind}" for kind in kinds)


def _dress(figure: Any, axes: Any, traces: Sequence[QueueTrace]) -> None:
    from matplotlib.patches import Patch

    for axis in axes.flat:
        axis.grid(visible=True, axis="y", color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[0]:
        axis.set_ylim(0, 1.08 * axis.get_ylim()[1])  # of the whole column
    for axis in axes[:, 0]:
        axis.set_ylabel("actions planned")
    for axis in axes[:, 1]:
        axis.set_ylabel("delay, steps")
    for axis in axes[-1]:
        axis.set_xlabel("time, s")
        axis.set_xlim(0, max((trace.t_s[-1] for trace in traces if trace.t_s), default=1.0))
    handles = [Patch(label=s.label, **s.style) for s in SHADES]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle("Queue size and delay over time", fontsize=14, fontweight="bold", color=INK)


def _colours(count: int) -> list[str]:
    return [PALETTE[k % len(PALETTE)] for k in range(count)]
