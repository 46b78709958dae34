"""The process that fuzzes one target with atheris; `run.py` starts it, and the arguments are libFuzzer's.

Segue's modules are imported under instrumentation, so that the fuzzer sees
which branches an input takes. Every second mutation changes one field of the
message instead of bytes, where the target reads messages of one kind.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable
from typing import Any

import atheris
import numpy as np

from .mutate import twisted_bytes


def main() -> None:
    """Runs until libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["segue"]):
        module = __import__(f"tests.fuzz.targets.{name}", fromlist=["check"])
        import segue.config.parse  # imported late by its users
    assert segue.config.parse
    warnings.simplefilter("error")
    np.seterr(divide="raise", over="raise", invalid="raise")
    keywords: dict[str, Any] = {}
    if hasattr(module, "KIND"):
        keywords["custom_mutator"] = _mutator(lambda _: module.KIND, 1 if name == "tensor" else 0)
    elif hasattr(module, "kind_of"):
        keywords["custom_mutator"] = _mutator(module.kind_of, 1)
    atheris.Setup([sys.argv[0], *arguments], module.check, **keywords)
    atheris.Fuzz()


def _mutator(kind_of: Callable[[bytes], Any], head: int) -> Any:
    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        changed = data[:head] + twisted_bytes(kind_of(data), data[head:], dice)
        return changed if len(changed) <= max_size else data

    return mutated


if __name__ == "__main__":
    main()
