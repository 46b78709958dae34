"""From the cameras' newest frames to the pictures of one request.

Frames are taken at the moment of sending, so that nothing older travels than
must; each camera's is made ready in a thread of its own (the encoder releases
the GIL). A JPEG that the camera itself made goes as it is, unless that camera's
are damaged. A picture larger than the policy's own size is brought to that size first: fewer bytes, the same
pixels; a smaller one is left to the server. For a policy that looks back, the
frames nearest to the earlier observations' stamps are added. Which camera has
failed is the cameras' own verdict; here it is only passed on. After a hold no
picture from before it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from segue.cameras.latest import LatestFrame
from segue.client.ownjpegs import OwnJpegs
from segue.clock import NS_PER_S
from segue.core.resize import Geometry, resized
from segue.core.types import Frame, ImageArray
from segue.errors import RobotFault
from segue.wire.image import encode, encode_raw, pass_through, pixels
from segue.wire.records import EncodedImage, Encoding

Images = Mapping[str, EncodedImage]

NO_GEOMETRIES: Mapping[str, Geometry] = MappingProxyType({})

# Twice what a noisy picture takes at quality 90: a camera that compresses less is encoded anew.
_MOST_BYTES_A_PIXEL = 0.5
# The picture beside an observation is up to one period old, and as much again was spent in the device.
_PERIODS = 2


class Pictures:
    """All cameras of one robot."""

    def __init__(
        self,
        cameras: Mapping[str, LatestFrame],
        encoding: Encoding,
        quality: int,
        geometries: Mapping[str, Geometry] = NO_GEOMETRIES,
    ) -> None:
        """Takes cameras by name, already started.

        Args:
            cameras: by name.
            encoding: how pictures travel.
            quality: of JPEG, 1..100.
            geometries: by camera, the policy's own, where pictures are to be resized here.
        """
        self._cameras = cameras
        self.quality = quality
        self._lowered = False
        self._encoding = encoding
        self._geometries = geometries
        self._own = OwnJpegs(cameras)
        self._pool = ThreadPoolExecutor(max(1, len(cameras)), thread_name_prefix="encode")

    def __repr__(self) -> str:
        return f"<Pictures {', '.join(self._cameras) or 'none'}>"

    def fault(self) -> str | None:
        """Returns what is wrong with the cameras, in words; None when all deliver."""
        faults = [fault for each in self._cameras.values() if (fault := each.fault()) is not None]
        return "; ".join(faults) or None

    def lower(self, quality: int) -> bool:
        """Encodes with `quality` from now on, if that makes pictures smaller; returns whether it does."""
        smaller = self._encoding is Encoding.JPEG and quality < self.quality
        if smaller:
            self.quality, self._lowered = quality, True
        return smaller

    def newly_damaged(self) -> list[str]:
        """Returns the cameras whose own JPEGs are damaged and made anew from now on; each is named once."""
        return self._own.newly_damaged()

    def newest(self, since_ns: int = 0) -> Images:
        """Returns the newest picture of each camera, encoded.

        Args:
            since_ns: no picture may be older than two periods of its camera before this stamp; for
                one that is, the next is waited for, two periods at most.

        Raises:
            RobotFault: a camera has none that is young enough; the message names it.
        """
        return self._encoded({name: _young(camera, since_ns) for name, camera in self._cameras.items()})

    def earlier(self, stamps_ns: Sequence[int]) -> list[Images]:
        """Returns for each stamp the pictures that were the newest then, encoded."""
        return [self._encoded(self._at(stamp)) for stamp in stamps_ns]

    def close(self) -> None:
        """Ends the encoders' threads; may be called twice."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _at(self, stamp_ns: int) -> dict[str, Frame]:
        found = {name: camera.at(stamp_ns) for name, camera in self._cameras.items()}
        return {name: frame for name, frame in found.items() if frame is not None}

    def _encoded(self, frames: Mapping[str, Frame]) -> Images:
        return dict(zip(frames, self._pool.map(self._encode, frames, frames.values()), strict=True))

    def _encode(self, camera: str, frame: Frame) -> EncodedImage:
        as_it_is = self._as_it_is(camera, frame)
        if as_it_is is not None:
            return as_it_is
        try:
            image = self._sized(camera, pixels(frame))
        except RobotFault as error:
            raise RobotFault(f"camera {camera}: {error}") from error
        return encode_raw(image) if self._encoding is Encoding.RAW else encode(image, self.quality)

    def _as_it_is(self, camera: str, frame: Frame) -> EncodedImage | None:
        """Returns the camera's own JPEG, if it may go; None when pixels are needed."""
        if self._encoding is not Encoding.JPEG or self._lowered:
            return None
        image = pass_through(frame)
        if image is None or self._shrinks(camera, image.height, image.width):
            return None
        if len(image.data) > _MOST_BYTES_A_PIXEL * image.height * image.width:
            return None
        return image if self._own.may_go(camera, image, frame.captured_ns) else None

    def _sized(self, camera: str, image: ImageArray) -> ImageArray:
        height, width = image.shape[:2]
        return resized(image, self._geometries[camera]) if self._shrinks(camera, height, width) else image

    def _shrinks(self, camera: str, height: int, width: int) -> bool:
        geometry = self._geometries.get(camera)
        return geometry is not None and geometry.height * geometry.width < height * width


def _young(camera: LatestFrame, since_ns: int) -> Frame:
    periods_s = _PERIODS / camera.spec.fps
    oldest_ns = since_ns - int(periods_s * NS_PER_S)
    # A camera that has failed already is not waited for; after a sleep of the computer none has.
    failed = camera.latest() is None and camera.fault() is not None
    waited = failed or camera.wait_since(oldest_ns, periods_s)
    frame = camera.latest() if waited else None
    if frame is None:
        raise RobotFault(camera.fault() or f"camera {camera.spec.name}: no fresh picture")
    return frame
