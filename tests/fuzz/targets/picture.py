"""A picture as it travelled: decoded to exactly the size that was announced, or refused.

The first byte chooses between JPEG and raw, and whether the announced size is
the camera's; the rest are the bytes of the picture.
"""

from __future__ import annotations

import numpy as np

from segue.errors import RemoteProtocolError
from segue.wire.image import decode
from segue.wire.records import EncodedImage, Encoding

from . import world


def check(data: bytes) -> None:
    """Decodes `data` as a picture of the camera."""
    mode = data[0] if data else 0
    encoding = Encoding.RAW if mode & 1 else Encoding.JPEG
    height = 65_535 if mode & 2 else world.CAMERA.height
    try:
        picture = decode(EncodedImage(encoding, height, world.CAMERA.width, data[1:]), world.CAMERA)
    except RemoteProtocolError as error:
        world.check_sentence(str(error))
        return
    assert picture.shape == (world.CAMERA.height, world.CAMERA.width, 3)
    assert picture.dtype == np.uint8
