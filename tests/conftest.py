"""What holds for all tests."""

from __future__ import annotations

import os

# gRPC's handlers run in a child between fork and exec, when a library (a video encoder's) starts one so;
# they then close what is not theirs, and now and then the child dies of it. Nothing here forks and goes on.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# Who has a proxy of his own tests the same: what proxies change is asked for where it is tested.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]
