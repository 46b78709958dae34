"""What holds for all tests."""

from __future__ import annotations

import os
import signal

# gRPC's handlers run in a child between fork and exec, when a library (a video encoder's) starts one so;
# they then close what is not theirs, and now and then the child dies of it. Nothing here forks and goes on.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# Who has a proxy of his own tests the same: what proxies change is asked for where it is tested.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

# A runner may ignore HUP or INT (`nohup`, `&` in a script), and every process started here would inherit
# that; what is ignored stays ignored, so tests that send these signals begin with what a terminal gives.
for _signal, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _usual)
