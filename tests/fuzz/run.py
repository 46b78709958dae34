"""Runs the coverage-guided fuzzer: `python -m tests.fuzz.run --seconds 3600`.

Every target gets its share of the seconds in a process of its own, with a limit
on memory and on the time of one input. New inputs that reach new code are kept
below `--corpus`, outside of git, and used by the next run. One line per target;
the exit code is 1 when a promise was broken, and the line names the input,
which belongs into `tests/fuzz/regressions/<target>/` together with the mend.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from segue.config import RunConfig, ServeConfig
from segue.config.schema import leaves, rooms

from .seeds import CORPUS
from .targets import NAMES

ROOT = Path(__file__).parent.parent.parent
REGRESSIONS = Path(__file__).parent / "regressions"
INPUT_SECONDS = 10
MEMORY_MIB = 2048
# A message may have 8 MiB; what is wrong with large ones shows with small ones, a thousand times faster.
MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Report:
    """What came of fuzzing one target; `finding` is the path of the input that broke a promise."""

    target: str
    executions: int
    coverage: int
    features: int
    finding: Path | None
    output: str

    def __str__(self) -> str:
        found = f"BROKEN by {self.finding}" if self.finding else "no finding"
        return (
            f"{self.target:10} {self.executions:>9} executions {self.coverage:>6} edges "
            f"{self.features:>6} features   {found}"
        )


def fuzz(target: str, seconds: int, folder: Path) -> Report:
    """Fuzzes one target.

    Args:
        target: one of `NAMES`.
        seconds: how long.
        folder: where new inputs and findings are kept.
    """
    kept, findings = folder / target, folder / "findings" / target
    for path in (kept, findings):
        path.mkdir(parents=True, exist_ok=True)
    given = [str(d / target) for d in (CORPUS, REGRESSIONS) if (d / target).is_dir()]
    command = [sys.executable, "-m", "tests.fuzz.worker", target, str(kept), *given]
    command += [
        f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={MAX_BYTES}", f"-artifact_prefix={findings}/", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    if target == "config":
        command.append(f"-dict={_dictionary(folder)}")
    done = subprocess.run(
        command, cwd=ROOT, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    return _report(target, done.returncode, done.stdout.decode(errors="replace"), findings)


def _dictionary(folder: Path) -> Path:
    """Writes down the words of the configuration, which no fuzzer guesses, and returns the file."""
    words = {"type", "null", "true", "fake", "sim_so101", "{", "}", ": ", "&a ", "*a", "<<", "!!", "\\x00--"}
    for cls in (RunConfig, ServeConfig):
        words.update(leaf.key for leaf in leaves(cls))
        words.update(rooms(cls))
    path = folder / "config.dict"
    path.write_text("".join(f'"{word}"\n' for word in sorted(words | {w.split(".")[-1] for w in words})))
    return path


def _report(target: str, code: int, output: str, findings: Path) -> Report:
    progress = re.findall(r"cov: (\d+) ft: (\d+)", output)
    coverage, features = progress[-1] if progress else (0, 0)
    executions = re.findall(r"stat::number_of_executed_units: (\d+)", output)
    written = re.findall(r"Test unit written to (\S+)", output)
    finding = Path(written[-1]) if written else findings if code else None
    return Report(
        target, int(executions[-1]) if executions else 0, int(coverage), int(features), finding, output
    )


def main() -> int:
    """Fuzzes as the command line says and returns the exit code."""
    parser = argparse.ArgumentParser(description="Fuzzes what strangers may send and what users may write.")
    parser.add_argument("--seconds", type=int, default=3600, help="shared by the targets")
    parser.add_argument("--target", choices=NAMES, action="append", help="one of them; may be repeated")
    parser.add_argument("--corpus", type=Path, default=ROOT / "build/fuzz", help="where inputs are kept")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="targets at a time")
    parser.add_argument("--optional", action="store_true", help="without atheris, succeed")
    asked = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write("atheris is not installed here, so nothing was fuzzed.\n")
        return 0 if asked.optional else 1
    targets = asked.target or list(NAMES)
    seconds = max(1, asked.seconds * asked.jobs // len(targets))
    broken = False
    with ThreadPoolExecutor(asked.jobs) as pool:
        for report in pool.map(lambda target: fuzz(target, seconds, asked.corpus.absolute()), targets):
            sys.stdout.write(f"{report}\n")
            if report.finding:
                broken = True
                sys.stdout.write(_tail(report.output))
            sys.stdout.flush()
    return int(broken)


def _tail(output: str) -> str:
    """Returns the part of a worker's output that says what broke."""
    at = output.find("=== Uncaught Python exception")
    return output[at:][:4000] if at >= 0 else output[-4000:]


if __name__ == "__main__":
    sys.exit(main())
