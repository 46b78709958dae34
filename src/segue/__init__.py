"""Segue: run a robot policy on a far GPU and drive the arm here, smoothly.

The pieces are in rooms of one idea each; `docs/ARCHITECTURE.md` is the map.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
