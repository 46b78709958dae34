"""The examples that the project hands out are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.config import load_run, load_serve

EXAMPLES = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads_without_a_note(path: Path) -> None:
    """Each file is understood by the verb that it is named after, to the last key."""
    load = load_serve if path.name.startswith("serve") else load_run
    assert load([f"--config_path={path}"]).notes == ()


def test_there_is_an_example_for_each_verb() -> None:
    """Server and robot both have one."""
    verbs = {path.stem.partition("_")[0] for path in EXAMPLES.glob("*.yaml")}
    assert verbs == {"run", "serve"}
