"""The house rules, as far as a machine can see them: sizes, banned things, docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = ("_pb2.py", "_pb2_grpc.py")
SOURCES = sorted(p for p in (ROOT / "src").rglob("*.py") if not p.name.endswith(GENERATED))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
EVERYTHING = SOURCES + TESTS + TRAINING

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 6
MAX_ATTRIBUTES = 10
MAX_NESTING = 3

BANNED_IN_SOURCES = {
    r"^\s*(import|from) (pickle|dill|joblib|marshal|shelve)\b": "no self-describing Python on any wire",
    r"\btime\.time\(\)": "durations come from a monotonic clock",
    r"\b(TODO|FIXME|XXX)\b": "finish it or file it",
    r"except( Exception)?:\s*(\n\s*)?(pass|\.\.\.)\s*$": "an error is handled or passed on",
    r"\bNotImplementedError\b": "no stubs",
    r"^\s*(import|from) (urllib\.request|requests|httpx|aiohttp|urllib3)\b": "obeys http_proxy unasked",
}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _classes(path: Path) -> Iterator[ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            yield node


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _depth(node: ast.AST, depth: int = 0) -> int:
    nests = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.AsyncFor, ast.AsyncWith)
    deepest = depth
    for field in ("body", "orelse", "finalbody", "handlers"):
        for child in getattr(node, field, []):
            is_elif = field == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If)
            inner = depth + (isinstance(child, nests) and not is_elif)
            deepest = max(deepest, _depth(child, inner))
    return deepest


def _attributes(node: ast.ClassDef) -> set[str]:
    if any("Enum" in ast.unparse(base) for base in node.bases):
        return set()
    declared = {
        s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
    }
    stores = (n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
    return declared | {n.attr for n in stores if isinstance(n.value, ast.Name) and n.value.id == "self"}


@pytest.mark.parametrize("path", EVERYTHING, ids=_name)
def test_files_stay_short_enough_to_read(path: Path) -> None:
    """No file is longer than 600 lines."""
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", EVERYTHING, ids=_name)
def test_functions_stay_short_and_flat(path: Path) -> None:
    """No function is longer than 70 lines, takes more than 6 parameters or nests deeper than 3 levels."""
    for node in _functions(path):
        where = f"{_name(path)}:{node.lineno} {node.name}"
        assert _body_lines(node) <= MAX_FUNCTION_LINES, where
        assert _depth(node) <= MAX_NESTING, where
        if path in SOURCES:
            arguments = [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
            assert len([a for a in arguments if a not in ("self", "cls")]) <= MAX_PARAMETERS, where


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_classes_stay_small(path: Path) -> None:
    """No class has more than 10 attributes."""
    for node in _classes(path):
        attributes = _attributes(node)
        assert len(attributes) <= MAX_ATTRIBUTES, (
            f"{_name(path)}:{node.lineno} {node.name} {sorted(attributes)}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_banned_is_used(path: Path) -> None:
    """No source uses what the house bans."""
    text = path.read_text()
    for pattern, why in BANNED_IN_SOURCES.items():
        found = re.search(pattern, text, re.MULTILINE)
        assert found is None, f"{_name(path)}: {found and found.group(0).strip()!r}: {why}"


def test_stamps_are_of_one_clock() -> None:
    """No source stamps by CLOCK_MONOTONIC, which stands still while the computer sleeps."""
    # The other one is a program of its own, in a text, that measures nothing but itself.
    known = {"src/segue/clock.py", "src/segue/tools/bench.py"}
    found = {_name(path) for path in SOURCES if "monotonic_ns" in path.read_text()}
    assert found <= known


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "__init__.py"], ids=_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    """Every module begins with a docstring, and prints only in the cli room."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    if "cli" not in path.parts:
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert not [n for n in calls if n.func.id == "print"], f"{_name(path)} prints"


@pytest.mark.parametrize("path", TESTS, ids=_name)
def test_every_test_states_its_promise(path: Path) -> None:
    """Every test has a docstring of one sentence."""
    for node in _functions(path):
        if node.name.startswith("test_"):
            promise = ast.get_docstring(node) or ""
            where = f"{_name(path)}:{node.lineno} {node.name}"
            assert promise.endswith("."), where
            assert "\n\n" not in promise, where


def test_weights_are_small_and_of_a_safe_format() -> None:
    """Weights in the package are safetensors of at most 5 MB a file."""
    weights = list((ROOT / "src/segue/policies/weights").iterdir())
    assert weights
    for path in weights:
        assert path.suffix == ".safetensors"
        assert path.stat().st_size <= 5_000_000, path.name
