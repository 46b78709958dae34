"""OpenCV, loaded only where a camera or a file needs it, and told to keep to itself.

It is large, so a robot whose cameras need none does without. Where it is
missing, the answer is one sentence with the command that installs it.
"""

from __future__ import annotations

import os
from typing import Any

from segue.errors import ConfigError

# How long a grab waits for a picture, s; ten as it comes, which holds up the reopening of a camera.
_SELECT_TIMEOUT_S = "2"


def load_cv2(what: str) -> Any:
    """Returns the module `cv2`.

    Args:
        what: who needs it, the first words of the refusal.

    Raises:
        ConfigError: it is not installed.
    """
    # Both are read once, at the first use; its warnings would be written over the status line.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _SELECT_TIMEOUT_S)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    try:
        import cv2
    except ImportError as missing:
        if (missing.name or "cv2").partition(".")[0] not in ("cv2", "libGL"):
            raise
        raise ConfigError(f"{what}: needs OpenCV: pip install 'segue[so101]'") from None
    # A pool of threads per picture would take cores from the control process and save no time.
    cv2.setNumThreads(1)
    return cv2
