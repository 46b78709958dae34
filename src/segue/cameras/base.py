"""What every camera looks like: open, grab, close; and who numbers the frames.

A camera is owned by one thread that does nothing but `grab`; everybody else
asks `latest.LatestFrame` for the newest frame, which never blocks on the
device. A frame carries a number and a stamp from its source, so that a frozen
device is told from a still scene.
"""

from __future__ import annotations

from typing import Protocol

from segue.core.specs import CameraSpec
from segue.core.types import Frame

__all__ = ["Camera", "Frame"]


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
