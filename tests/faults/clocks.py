"""Clocks that go wrong, for processes that are started with them: compiled and preloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(name: str, folder: Path) -> dict[str, str]:
    """Returns the environment of a process whose clock is that of ``name.c`` beside this file."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make the clock with")
    library = folder.resolve() / f"{name}.so"
    source = Path(__file__).parent / f"{name}.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


class Suspend:
    """A computer on which all processes that were started with its environment sleep at the same moment."""

    def __init__(self, folder: Path) -> None:
        """Compiles the clock; nobody sleeps yet."""
        self._file = folder.resolve() / "slept_ns"
        self._slept_ns = 0
        self._file.write_bytes(bytes(8))
        self.environment = compiled("sleeping_clock", folder) | {"SLEEP_FILE": str(self._file)}

    def sleep(self, seconds: float) -> int:
        """Lets it sleep, in no time at all, and returns for how long it has slept so far, ns."""
        self._slept_ns += round(seconds * 1e9)
        file = os.open(self._file, os.O_WRONLY)
        os.pwrite(file, self._slept_ns.to_bytes(8, "little"), 0)
        os.close(file)
        return self._slept_ns
