"""Which versions of the protocol this side speaks, and how large anything on it may be.

The version counts up only when an old peer could misread a new message; fields
that an old peer may ignore need no new number. The bounds are those at which a
request stops being a robot's and starts being an attack or a bug; every one of
them is checked before memory is set aside for what it bounds. Both ends use the
same: what a server would not take from a robot, a robot does not take from a
server, and a server does not start with a policy that no robot would take.
Which field has which bound is a table in `tests/unit/wire/test_every_field.py`.
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
MAX_MODES = 8
MAX_TENSOR_SIDE = 65_536
# Three pictures of 1920x1080 are 6.2 million pixels; 16 million decode to 48 MB.
MAX_PIXELS = 16_000_000
MAX_SIDE_PIXELS = 8192

# Steps of one chunk: as many as the largest policy that Segue itself builds may sample.
MAX_HORIZON = 4096
# Width of an action in model units; pi0 has 32.
MAX_MODEL_DIM = 1024
# Earlier observations. Each is encoded in the control loop: 64 of 100 joints take 0.2 ms of a tick,
# 65 536 of 6 joints took 220 ms.
MAX_HISTORY = 64
# What a request may hold at most, history and leftover in both units together. It crosses the mailbox
# between the two processes of a robot, where a kernel that nobody tuned takes 416 KiB; and a tick that
# merges, asks and encodes so many takes 1.5 ms. A chunk of 1000 steps of 14 joints has 28 000 of them.
MAX_REQUEST_NUMBERS = 48_000

# Steps a second. A step of more than 100 s is no motion, and no run ticks faster than 1000 times a second.
MIN_RATE_HZ, MAX_RATE_HZ = 0.01, 1000.0

# A client waits for three times of it before it gives the first request up.
MAX_INFERENCE_NS = 600 * 1_000_000_000
# What a server may say that a stage took; no deadline is longer.
MAX_STAGE_NS = 3600 * 1_000_000_000
# Numbers that count up: a request a microsecond takes 146 000 years to get there.
MAX_COUNT = 2**62
