"""What every camera looks like: open, grab, close; and who numbers the frames.

A camera is owned by one thread that does nothing but `grab`; everybody else
asks `latest.LatestFrame` for the newest frame, which never blocks on the
device. A frame carries a number and a stamp from its source, so that a frozen
device is told from a still scene. Numbers go on counting when a camera is opened
anew. A frame is pixels, or the JPEG that the device delivered: whoever needs
pixels decodes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from segue.core.specs import CameraSpec
from segue.core.types import Frame
from segue.errors import RobotFault, SegueError

__all__ = ["Camera", "Frame", "check_size", "driver_faults"]


class Camera(Protocol):
    """A source of frames."""

    @property
    def spec(self) -> CameraSpec:
        """Name, size and rate."""
        ...

    def open(self) -> None:
        """Opens the device.

        Raises:
            RobotFault: it does not exist or does not deliver the asked size.
        """
        ...

    def grab(self) -> Frame:
        """Waits for the next picture and returns it.

        Raises:
            RobotFault: the device failed.
        """
        ...

    def close(self) -> None:
        """Closes the device; may be called more than once and after a fault."""
        ...


@contextmanager
def driver_faults(what: str) -> Iterator[None]:
    """Turns whatever a driver raises into a `RobotFault` that begins with `what`."""
    try:
        yield
    except SegueError:
        raise
    except Exception as error:
        words = " ".join((str(error) or type(error).__name__).split())
        raise RobotFault(f"{what}: {words}") from error


def check_size(what: str, height: int, width: int, spec: CameraSpec) -> None:
    """Refuses a device that delivers another size than its spec says; 0 in the spec means any.

    Raises:
        RobotFault: it does; the text begins with `what` and has both sizes.
    """
    if (spec.height or height, spec.width or width) != (height, width):
        raise RobotFault(
            f"{what} delivers {width}x{height}, asked for were {spec.width}x{spec.height}: "
            "set width and height"
        )
