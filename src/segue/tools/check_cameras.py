"""Looks at a run's cameras together: whether they open, and deliver what was asked for.

Together, because three cameras on one USB hub may each be fine alone. The rate
is what arrived, by the frames' own numbers and stamps; a camera in the dark
slows down to expose longer, so a rate somewhat too low is a doubt and not a
failure. The size needs no look of its own: a wrong one is refused on opening.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segue.cameras.base import Camera
from segue.cameras.latest import LatestFrame, WatchPlan
from segue.clock import NS_PER_S, Clock, SystemClock
from segue.core.types import Frame
from segue.tools.checks import Check, Verdict, doubt

# Opening may take a second, and cameras warm up for another.
OPEN_S = 6.0
MEASURE_S = 2.0
_FINE_SHARE, _USABLE_SHARE = 0.9, 0.5
_FAULT = 74


def check_cameras(
    cameras: Sequence[Camera],
    open_s: float = OPEN_S,
    measure_s: float = MEASURE_S,
    clock: Clock | None = None,
) -> Iterator[Check]:
    """Yields a finding for each camera, after all were watched at the same time.

    Args:
        cameras: not yet opened; they are closed in the end.
        open_s: how long they may take until the first picture.
        measure_s: how long the rate is measured.
        clock: the host's.
    """
    clock = clock or SystemClock()
    watched = [LatestFrame(each, WatchPlan(), clock) for each in cameras]
    try:
        for each in watched:
            each.start()
        end_ns = clock.now_ns() + round(open_s * NS_PER_S)
        for each in watched:
            each.wait_first(max(0.0, (end_ns - clock.now_ns()) / NS_PER_S))
        begun = [each.latest() for each in watched]
        clock.sleep_until(clock.now_ns() + round(measure_s * NS_PER_S))
        for each, first in zip(watched, begun, strict=True):
            yield _finding(each, first)
    finally:
        for each in watched:
            each.stop()


def _finding(camera: LatestFrame, first: Frame | None) -> Check:
    name, spec, last, fault = f"camera {camera.spec.name}", camera.spec, camera.latest(), camera.fault()
    if first is None or last is None or fault is not None:
        says = fault or "no picture came; is it plugged in, and used by no other program?"
        return Check(name, Verdict.FAIL, says.removeprefix(f"{name}: "), _FAULT)
    span_ns = last.captured_ns - first.captured_ns
    hz = (last.number - first.number) * NS_PER_S / span_ns if span_ns > 0 else 0.0
    says = f"{spec.width}x{spec.height} at {hz:.1f} Hz, asked for {spec.fps:g}"
    if hz >= _FINE_SHARE * spec.fps:
        return Check(name, Verdict.OK, says)
    slow = f"{says}; more light, another USB port or a smaller picture may help"
    if hz >= _USABLE_SHARE * spec.fps:
        return doubt(name, slow)
    return Check(name, Verdict.FAIL, slow, _FAULT)
