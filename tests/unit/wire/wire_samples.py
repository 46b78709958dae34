"""Values of every type that travels, drawn at random: shared by the tests of the wire."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segue.core.specs import ActionSpec, CameraSpec, Dimension, Kind, ObservationSpec, PolicySpec, RobotSpec
from segue.core.types import (
    ChunkRequest,
    Guidance,
    Jacobian,
    Leftover,
    Observation,
    RtcMode,
    Schedule,
    Strategy,
)
from segue.wire.records import RequestContext
from segue.wire.specs_codec import MAX_INFERENCE_NS

counts = st.integers(0, 2**40)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def dimensions(draw: st.DrawFn, name: str) -> Dimension:
    # Something lies between the limits, and a joint can move: a spec of anything else is refused.
    low, high = sorted((draw(finite), draw(finite)))
    low, high = draw(st.sampled_from((low, -math.inf))), draw(st.sampled_from((high, math.inf)))
    speed = draw(st.floats(0.0, math.inf, exclude_min=True))
    return Dimension(
        name, draw(st.sampled_from(["deg", "rad", ""])), draw(st.sampled_from(Kind)), low, high, speed
    )


def _all_dimensions(of: list[str]) -> st.SearchStrategy[tuple[Dimension, ...]]:
    return st.tuples(*(dimensions(name) for name in of))


some_dimensions = st.lists(names, min_size=1, max_size=4, unique=True).flatmap(_all_dimensions)
cameras = st.lists(
    st.builds(CameraSpec, names, st.integers(1, 900), st.integers(1, 900), st.floats(0.0, 240.0)),
    max_size=3,
    unique_by=lambda camera: camera.name,
).map(tuple)
observation_specs = st.builds(
    ObservationSpec, some_dimensions, st.lists(names, max_size=3, unique=True).map(tuple), cameras
)
robot_specs = st.builds(RobotSpec, names, observation_specs, some_dimensions.map(ActionSpec))
policy_specs = st.builds(
    PolicySpec,
    name=names,
    observation=observation_specs,
    action=some_dimensions.map(ActionSpec),
    action_hz=st.floats(0.01, 1000.0),
    horizon=st.integers(1, 500),
    model_action_dim=st.integers(0, 50),
    history_steps=st.integers(0, 9),
    rtc_modes=st.sampled_from([(), ("guided",), ("guided", "trained")]),
    warm_inference_ns=st.integers(0, MAX_INFERENCE_NS),
    policy_hash=names,
)
guidances = st.builds(
    Guidance,
    strategy=st.sampled_from(Strategy),
    mode=st.sampled_from(RtcMode),
    schedule=st.sampled_from(Schedule),
    prefix_end=st.none() | st.integers(1, 500),
    max_weight=st.floats(0.0, 100.0),
    jacobian=st.sampled_from(Jacobian),
)
contexts = st.builds(RequestContext, names, names, names, names, guidances, st.integers(0, 500), counts)


def arrays(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, shape, elements=numbers)


observations = st.builds(
    Observation, counts, counts, arrays(3), st.sampled_from([np.zeros(0), np.array([1.5, -2.0])])
)
leftovers = st.builds(Leftover, arrays(4, 3), st.none() | arrays(4, 5))
requests = st.builds(
    ChunkRequest,
    number=counts,
    epoch=counts,
    start_step=counts,
    observation=observations,
    history=st.lists(observations, max_size=2).map(tuple),
    leftover=st.none() | leftovers,
    delay_steps=st.integers(0, 500),
    requested_ns=st.just(0),
    deadline_ns=st.just(0),
    slack_ns=st.integers(-(2**40), 2**40),
)


def plain(value: object) -> object:
    """Returns a value that compares equal exactly when all numbers in `value` are equal."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.tolist())
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    slots = getattr(type(value), "__slots__", ())
    return {slot: plain(getattr(value, slot)) for slot in slots} or value
