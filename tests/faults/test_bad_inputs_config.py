"""Bad inputs of the person who starts it: flags and files, refused in one line before the robot moves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from segue.config import load_run, load_serve
from segue.errors import ConfigError, UsageError

pytestmark = pytest.mark.faults

FAKE = "--robot.type=fake"
MIB = 2**20
LARGEST_FILE = 128 * 1024

FLAGS: dict[str, tuple[Callable[[list[str]], object], list[str], list[str]]] = {
    "an unknown key": (load_run, [FAKE, "--horizont=5"], ["--horizont", "no such flag"]),
    "an unknown key of serve": (load_serve, ["--prt=1"], ["--prt", "--port"]),
    "a wrong type": (load_run, [FAKE, "--control_hz=fast"], ["--control_hz=fast", "a number"]),
    "a number of words": (load_serve, ["--max_robots=3.5"], ["--max_robots=3.5", "a whole number"]),
    "out of range": (load_run, [FAKE, "--safety.park_s=-1"], ["--safety.park_s=-1", "above 0"]),
    "not a number": (load_run, [FAKE, "--safety.play_out_s=nan"], ["=nan", "from 0 to 3600"]),
    "an infinity": (load_run, [FAKE, "--duration=inf"], ["--duration=inf", "at most 1000000"]),
    "a port too high": (load_serve, ["--port=65536"], ["--port=65536", "from 0 to 65535"]),
    "a huge number": (load_run, [FAKE, f"--seed={'9' * 5000}"], ["--seed=", "a whole number"]),
    "a list for a number": (load_run, [FAKE, "--fps=[1, 2]"], ["--fps", "a number"]),
    "a map for a number": (load_run, [FAKE, "--rtc={max_weight: {}}"], ["--rtc.max_weight", "a number"]),
    "a NUL": (load_run, [FAKE, "--task=a\0b"], ["--task=", "one line of text"]),
    "an escape": (load_run, [FAKE, "--robot.id=\x1b[2J"], ["--robot.id=", "one line of text"]),
    "broken Unicode": (load_run, [FAKE, "--task=\udcff"], ["--task=", "one line of text"]),
    "an escape as a key": (load_run, [FAKE, "--\x1b[2J=1"], ["no such flag"]),
    "a key of a megabyte": (load_run, [FAKE, f"--{'k' * MIB}=1"], ["no such flag"]),
    "a value of a megabyte": (load_run, [FAKE, f"--task={'v' * MIB}"], ["--task", "1000 characters"]),
    "no address": (load_run, [FAKE, "--server_address=http://a/b"], ["--server_address", "host:port"]),
    "a path with a newline": (load_run, [FAKE, "--output_dir=a\nb"], ["--output_dir", "a path"]),
    "a file that is not there": (load_run, ["--config_path=/no/such.yaml"], ["/no/such.yaml", "readable"]),
    "a folder as the file": (load_run, ["--config_path=/"], ["--config_path=/", "directory"]),
}


def line_of(load: Callable[[list[str]], object], argv: list[str]) -> ConfigError:
    """Returns the refusal, which is one short line that is safe to print."""
    with pytest.raises(ConfigError) as caught:
        load(argv)
    line = str(caught.value)
    assert line.isprintable(), line[:200]
    assert len(line) < 400, line
    return caught.value


@pytest.mark.parametrize("what", FLAGS)
def test_a_bad_flag_is_one_line_that_helps(what: str) -> None:
    """The line names the key, the value and what is allowed, and the exit code says whose mistake it is."""
    load, argv, parts = FLAGS[what]
    refused = line_of(load, argv)
    assert refused.exit_code == (64 if isinstance(refused, UsageError) else 78)
    for part in parts:
        assert part in str(refused)


GOOD = "robot: {type: fake}\n"
FILES: dict[str, tuple[bytes, list[str]]] = {
    "an unknown key": (b"robot: {type: fake}\nhorizont: 5\n", ["horizont", "no such key"]),
    "a key that is nothing like ours": (b"robot: {type: fake}\nqqq: 5\n", ["qqq", "--help lists all"]),
    "a wrong type": (b"robot: {type: fake}\nfps: fast\n", ["fps: fast", "a number"]),
    "a scalar at the top": (b"fake", ["a map of keys and values"]),
    "two documents": (b"robot: {type: fake}\n---\nfps: 3\n", ["YAML"]),
    "a NUL": (b"robot: {type: fake}\ntask: a\0b\n", ["YAML"]),
    "an escape": (b'robot: {type: fake}\ntask: "\\e[2J"\n', ["task", "one line of text"]),
    "an escape as a key": (b'robot: {type: fake}\n"\\e[2J": 1\n', ["no such key"]),
    "invalid UTF-8": (b"robot: {type: \xff\xfe}\n", ["UTF-8"]),
    "UTF-16": (GOOD.encode("utf-16"), ["UTF-8"]),
    "Python in a tag": (b"robot: !!python/object/apply:os.system [false]\n", ["robot"]),
    "a key that is a list": (b"? [a]\n: b\n", ["YAML"]),
    "an unknown alias": (b"robot: *nobody\n", ["YAML"]),
    "an alias of itself": (b"robot: &a [*a]\n", ["YAML"]),
    "maps nested in maps": (b"robot: " + b"{a: " * 300 + b"1" + b"}" * 300, ["robot"]),
    "lists nested without end": (b"[" * 100_000, ["nested"]),
    "a key as long as a file": (b"k" * (LARGEST_FILE - 100) + b": 1\n", ["config.yaml"]),
    "a value as long as a file": (GOOD.encode() + b"task: " + b"v" * (LARGEST_FILE - 100), ["task"]),
    "more than 128 KiB": (b"#" * (LARGEST_FILE + 1), ["128 KiB"]),
}


@pytest.mark.parametrize("what", FILES)
def test_a_bad_file_is_one_line_that_helps(tmp_path: Path, what: str) -> None:
    """The line names file and key, comes in time, and ends with the code of a wrong file."""
    data, parts = FILES[what]
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    began = time.monotonic()
    refused = line_of(load_run, [f"--config_path={path}"])
    assert time.monotonic() - began < 10.0
    assert refused.exit_code == 78
    for part in parts:
        assert part in str(refused)


def test_a_bomb_of_aliases_takes_no_memory(tmp_path: Path) -> None:
    """Maps and lists that would unfold to billions are refused within 20 MiB, wherever they stand."""
    rows = ["a0: &a0 {type: fake}"]
    rows += [f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 60)]
    for place in ("robot", "safety", "rtc", "inference", "task", "nothing", "policy_type"):
        path = tmp_path / "config.yaml"
        path.write_text("\n".join([*rows, f"{place}: *a59"]))
        tracemalloc.start()
        line_of(load_run, [f"--config_path={path}"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * MIB


LOAD_AND_TELL = """
import re, sys
from segue.config import load_run
task = load_run(sys.argv[1:]).config.job.task
# Not getrusage: what that says of the largest size begins with that of the process that started this one.
print(task, int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
def test_the_largest_file_is_bounded(tmp_path: Path) -> None:
    """The largest file that is read costs at most some seconds and 150 MiB in all."""
    path = tmp_path / "config.yaml"
    path.write_text("robot: {type: fake}\n" + "task: a\n" * 16_000)
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AND_TELL, f"--config_path={path}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    task, mebibytes = done.stdout.split()
    assert task == "a"
    assert int(mebibytes) < 150


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("argv", "code", "part"),
    [
        (["run", FAKE, "--fps=fast"], 64, "--fps=fast"),
        (["run", "--config_path=/no/such.yaml"], 78, "/no/such.yaml"),
        (["serve", "--port=70000"], 64, "--port=70000"),
        (["serve", "--policy.path=/etc/passwd"], 64, "--policy.path"),
        (["serve", "--policy.device=abacus"], 64, "--policy.device"),
        (["serve", "--tls.cert_file=/no/cert.pem", "--tls.key_file=/no/key.pem"], 64, "cert"),
    ],
)  # fmt: skip
def test_a_bad_start_ends_with_its_code_and_no_traceback(argv: list[str], code: int, part: str) -> None:
    """The program itself says the line on stderr, and nothing else, and ends with 64 or 78."""
    done = subprocess.run(
        [sys.executable, "-m", "segue.cli.main", *argv],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
