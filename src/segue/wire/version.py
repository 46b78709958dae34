"""Which versions of the protocol this side speaks, and how large anything on it may be.

The version counts up only when an old peer could misread a new message; fields
that an old peer may ignore need no new number. The bounds are those at which a
request stops being a robot's and starts being an attack or a bug; every one of
them is checked before memory is set aside for what it bounds.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
SUPPORTED_VERSIONS = (1,)

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
MAX_NAME_CHARS = 128
MAX_TASK_CHARS = 1024
MAX_DIMENSIONS = 256
MAX_CAMERAS = 16
MAX_POLICIES = 256
MAX_VERSIONS = 256
# What a server says of its configuration, and why it refuses.
MAX_FACTS = 64
MAX_DIFFERENCES = 64
MAX_HISTORY = 64
MAX_TENSOR_SIDE = 65_536
# Three pictures of 1920x1080 are 6.2 million pixels; 16 million decode to 48 MB.
MAX_PIXELS = 16_000_000
