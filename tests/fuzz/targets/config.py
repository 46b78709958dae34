"""Flags and a configuration file: one resolved configuration, or one short line about what is wrong.

The bytes are flags with NUL between them (no command line can hold one), then
two NULs, then the YAML file. Where the first flag is ``serve`` they are those of
`segue serve`, else of `segue run`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from segue.config import Loaded, load_run, load_serve
from segue.config.dump import to_yaml
from segue.errors import ConfigError

MAX_LINE = 400
_FILE = Path(tempfile.gettempdir()) / f"segue-fuzz-{os.getpid()}.yaml"


def check(data: bytes) -> None:
    """Loads `data`, and what it resolves to once more."""
    head, _, body = data.partition(b"\0\0")
    flags = [os.fsdecode(flag) for flag in head.split(b"\0")]
    # Another file is none of ours: it might be a device that never ends.
    argv = [flag for flag in flags[1:] if not flag.startswith("--config_path")]
    load = load_serve if flags[0] == "serve" else load_run
    try:
        _FILE.write_bytes(body)
        loaded: Loaded[object] = load([*argv, f"--config_path={_FILE}"])  # type: ignore[assignment]
        config, notes = loaded.config, loaded.notes
    except ConfigError as error:
        _check_line(str(error))
        return
    finally:
        _FILE.unlink(missing_ok=True)
    for note in notes:
        _check_line(note)
    _check_round_trip(load, config)  # type: ignore[arg-type]


def _check_line(line: str) -> None:
    assert line.isprintable(), line[:MAX_LINE]
    assert len(line) < MAX_LINE, line
    assert ":" in line, line


def _check_round_trip(load: type, config: object) -> None:
    _FILE.write_text(to_yaml(config), encoding="utf-8")
    try:
        assert load([f"--config_path={_FILE}"]).config == config
    finally:
        _FILE.unlink(missing_ok=True)
