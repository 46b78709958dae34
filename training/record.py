"""Records demonstrations of the belt teacher for training a policy.

    python training/record.py --episodes 100 --seed 0 --out belt.npz

One episode of `--episodes` is one belt with 24 cubes at its own speed and
interval. On it the teacher is disturbed every few seconds: held still, pushed
off its way, its jaws forced, or led elsewhere. What is recorded begins where it
gets its hands back, so the data show how to go on after being late, after a
missed grasp, with a cube that slipped, and when a cube is gone for good.

The arrays, at 30 Hz and in robot units: state (T, 6), environment (T, E),
action (T, 6), episode_start (T,). Same flags, same file on one machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segue.core.types import FloatArray
from segue.robots.base import RobotState
from segue.robots.belt_cubes import BeltConfig
from segue.robots.belt_expert import GRASP_Z_M
from segue.robots.belt_rollout import Recording, run_expert
from segue.robots.mujoco import SimSO101Config
from segue.robots.so101_kinematics import ArmKinematics

EPISODES = 80
CUBES = 24
FIRST_SEED = 1_000_000
# Belts around the default one, so that it may be tuned without training anew.
SPEED_M_S = (0.05, 0.11)
INTERVAL_S = (1.3, 2.6)
SWING = (0.0, 0.25)
# Where the arm is led astray: over and on the belt, all of its reach.
PLACE_X_M = (0.15, 0.23)
PLACE_Y_M = (-0.17, 0.17)
PLACE_Z_M = (GRASP_Z_M, GRASP_Z_M + 0.06)


# How often and how hard the teacher is disturbed; ranges are steps of 33 ms.
PEACE_STEPS = (90, 170)
PUSH_STEPS, PUSH_DEG = (4, 16), 1.5
HOLD_STEPS = (6, 45)
JAW_STEPS = (4, 12)
LEAD_STEPS = (6, 22)

Force = Callable[[FloatArray, FloatArray], FloatArray]  # (wanted, last command) -> target


class Troublemaker:
    """Takes the arm over now and then: a push, a hold, forced jaws, or a walk to somewhere else."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self._arm = ArmKinematics()
        self._peace = self._steps(PEACE_STEPS)
        self._left = 0
        self._force: Force = hold

    def target(self, seen: RobotState, wanted: FloatArray, last: FloatArray) -> FloatArray | None:
        """Returns what is executed in place of `wanted`; None while the teacher is left alone."""
        if self._peace > 0:
            self._peace -= 1
            return None
        if self._left == 0:
            self._left, self._force = self._draw(seen.state)
        self._left -= 1
        if self._left == 0:
            self._peace = self._steps(PEACE_STEPS)
        return self._force(wanted, last)

    def _draw(self, state: FloatArray) -> tuple[int, Force]:
        """Draws how long a trouble lasts and what it does."""
        rng = self._rng
        kind = rng.integers(4)
        if kind == 0:
            offset = rng.normal(0.0, PUSH_DEG, 6)
            return self._steps(PUSH_STEPS), lambda wanted, last: wanted + offset
        if kind == 1:
            return self._steps(HOLD_STEPS), hold
        if kind == 2:
            grip = rng.uniform(0.0, 60.0)
            return self._steps(JAW_STEPS), lambda wanted, last: np.append(wanted[:-1], grip)
        place = np.array([rng.uniform(*PLACE_X_M), rng.uniform(*PLACE_Y_M), rng.uniform(*PLACE_Z_M)])
        body = self._arm.reach(place, rng.uniform(-0.8, 0.8), state)
        pose = np.append(body, rng.uniform(0.0, 60.0))
        return self._steps(LEAD_STEPS), lambda wanted, last: pose

    def _steps(self, bounds: tuple[int, int]) -> int:
        return int(self._rng.integers(bounds[0], bounds[1] + 1))


def hold(wanted: FloatArray, last: FloatArray) -> FloatArray:
    """Returns the last command: the arm stands still while the belt moves on."""
    return last


def belt_of(seed: int) -> SimSO101Config:
    """Returns one belt of a recording: its speed, its interval and its cubes follow from the seed."""
    rng = np.random.default_rng([seed, 3])
    belt = BeltConfig(
        speed_m_s=rng.uniform(*SPEED_M_S),
        speed_swing=rng.uniform(*SWING),
        interval_s=rng.uniform(*INTERVAL_S),
        max_cubes=CUBES,
    )
    return SimSO101Config(seed=seed, belt=belt)


def save(path: Path, recordings: list[Recording]) -> None:
    """Writes all recordings as one, under a passing name first, so that nobody reads half a file."""
    fields = ("state", "environment", "action", "episode_start")
    arrays = {name: np.concatenate([getattr(r, name) for r in recordings]) for name in fields}
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.stem}.part.npz")
    np.savez_compressed(passing, **arrays)
    passing.replace(path)


def main() -> None:
    """Reads the flags, records, saves, and says what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=EPISODES, help=f"belts of {CUBES} cubes each")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first belt; the next has the next")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .npz")
    flags = parser.parse_args()
    started, recordings = time.monotonic(), []
    for index in range(flags.episodes):
        # Far from the small seeds that are used for trying a policy: those belts stay unseen.
        seed = FIRST_SEED + flags.seed * 10_000 + index
        recordings.append(run_expert(belt_of(seed), Troublemaker(seed)))
        if (index + 1) % 10 == 0 or index + 1 == flags.episodes:
            samples = sum(len(r.action) for r in recordings)
            lifted = sum(r.summary["successes"] for r in recordings)
            offered = sum(r.summary["cubes_offered"] for r in recordings)
            seconds = time.monotonic() - started
            print(f"{index + 1} belts, {samples} samples, lifted {lifted} of {offered}, {seconds:.0f} s")
    save(flags.out, recordings)
    print(f"wrote {flags.out}, {flags.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
