"""Which cameras' own JPEGs may travel as they are: those that the server will decode.

The server decodes strictly and refuses a request whose picture is damaged. Some
cheap cameras damage each picture a little, for example by bytes too many before
the end; passed through, none of their requests would ever be answered. So the
first pictures of a camera, and then one every two seconds, are decoded here in
the server's own way. A camera that fails once is not asked again within a run:
a picture that changes its look to and fro is worse for a policy than one that
was made anew. Not every picture is looked at, that would cost what passing
through saves: one that is damaged by chance costs one request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.clock import NS_PER_S
from segue.wire.image import is_sound
from segue.wire.records import EncodedImage

# Not every picture of a bad camera is refused: a few zero bytes may pass for the end of the picture.
_CHECKED_FIRST = 5
_CHECK_EVERY_NS = 2 * NS_PER_S


@dataclass(slots=True)
class _Trust:
    """What is known of one camera: pictures checked, when the next is due, whether one was damaged."""

    checked: int = 0
    due_ns: int = 0
    damaged: bool = False
    told: bool = False


class OwnJpegs:
    """The trust in each camera's JPEGs; one camera is asked about on one thread at a time."""

    def __init__(self, cameras: Iterable[str]) -> None:
        """Trusts none of `cameras` yet."""
        self._trust = {camera: _Trust() for camera in cameras}

    def __repr__(self) -> str:
        bad = [camera for camera, trust in self._trust.items() if trust.damaged]
        return f"<OwnJpegs damaged={bad}>"

    def may_go(self, camera: str, image: EncodedImage, captured_ns: int) -> bool:
        """Returns whether a camera's own JPEG may go as it is, and decodes it first where that is due.

        Args:
            camera: its name, one of those of the beginning.
            image: its picture, whose header is in order.
            captured_ns: stamp of the picture, which tells when the next check is due.
        """
        trust = self._trust[camera]
        if not trust.damaged and (trust.checked < _CHECKED_FIRST or captured_ns >= trust.due_ns):
            trust.checked += 1
            trust.due_ns = captured_ns + _CHECK_EVERY_NS
            trust.damaged = not is_sound(image)
        return not trust.damaged

    def newly_damaged(self) -> list[str]:
        """Returns the cameras whose JPEGs turned out to be damaged; each is named once."""
        found = [camera for camera, trust in self._trust.items() if trust.damaged and not trust.told]
        for camera in found:
            self._trust[camera].told = True
        return found
