"""The names that others build on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segue
import segue.testing


@pytest.mark.parametrize("package", [segue, segue.testing])
def test_every_public_name_can_be_had(package: object) -> None:
    """Each name in __all__ is there, and a name that is not says so."""
    names = vars(package)["__all__"]
    assert all(getattr(package, name) is not None for name in names)
    with pytest.raises(AttributeError, match="no attribute"):
        package.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("segue", ("numpy", "grpc", "torch", "pydantic")),
        ("segue.client", ("torch", "cv2", "matplotlib")),
        ("segue.client.launch", ("torch", "cv2", "matplotlib", "mujoco", "pydantic")),
        ("segue.client.control", ("torch", "grpc", "simplejpeg", "pydantic", "mujoco")),
        ("segue.testing", ("grpc", "torch", "numpy")),
    ],
)
def test_an_import_brings_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    """A room loads only what it needs: the robot's side never loads torch, help never loads numpy."""
    code = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
