"""Typed configuration: dataclasses per room, filled from YAML and flags, refused precisely.

`schema` reads what the dataclasses say, `parse` fills them, `load` merges file
and flags, `dump` writes the result back. Importing this package costs no numpy
and no pydantic, so that `segue run --help` answers at once.
"""

from segue.config.bench import BenchConfig
from segue.config.demo import DemoConfig
from segue.config.keys import KeysConfig
from segue.config.load import Loaded, load, load_run, load_serve
from segue.config.run import RunConfig
from segue.config.serve import ServeConfig

__all__ = [
    "RunConfig",
    "ServeConfig",
    "DemoConfig",
    "BenchConfig",
    "KeysConfig",
    "Loaded",
    "load",
    "load_run",
    "load_serve",
]
