"""Guidance against closed forms and against an independent NumPy vector-Jacobian product."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segue.core.types import FloatArray, Schedule
from segue.policies.flow import FlowNetwork
from segue.policies.prefix import Window, prefix_weights
from segue.policies.rtc import Prefix, guidance_factor, guided_velocity, sample

Numbers = npt.NDArray[np.complex128] | FloatArray
H, A = 16, 3
BETA = 5.0


def make_prefix(
    weights: FloatArray, rows: int = 1, exact: bool = True, dtype: torch.dtype = torch.float64, seed: int = 1
) -> Prefix:
    generator = torch.Generator().manual_seed(seed)
    return Prefix(
        target=torch.randn((rows, len(weights), A), generator=generator, dtype=torch.float64).to(dtype),
        weights=torch.from_numpy(weights).to(dtype).expand(rows, -1),
        max_weight=torch.full((rows,), BETA),
        exact=torch.full((rows,), exact),
    )


def make_noise(rows: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn((rows, H, A), generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(
        dtype
    )


def field(network: FlowNetwork, rows: int = 1) -> tuple[FlowNetwork, Tensor]:
    observation = torch.randn((rows, 5), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return network.double(), observation


# --- the factor ---------------------------------------------------------------------------------


def test_golden_factors() -> None:
    """For five Euler steps the unclipped factor is infinite, 4.25, 2.167, 2.167 and 4.25."""
    assert guidance_factor(0.0) == math.inf
    found = [guidance_factor(k / 5) for k in range(1, 5)]
    assert found == pytest.approx([4.25, 2.1666667, 2.1666667, 4.25])


@given(st.floats(0, 1))
def test_factor_is_the_papers_quotient(tau: float) -> None:
    """The factor is (1 − τ)/(τ·r²) within the flow, at least 2, and never undefined at its ends."""
    factor = guidance_factor(tau)
    assert factor >= 2 - 1e-9
    if 1e-9 < tau < 1 - 1e-9:
        r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
        assert factor == pytest.approx((1 - tau) / (tau * r2), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 1.0, 5.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_first_step_is_clipped_and_finite_in_every_type(beta: float, dtype: torch.dtype) -> None:
    """At τ = 0 the factor is exactly β, and nothing is infinite or undefined in any number type."""
    prefix = make_prefix(np.ones(H), dtype=dtype)
    prefix = Prefix(prefix.target, prefix.weights, torch.tensor([beta]), torch.tensor([False]))
    x = make_noise(dtype=dtype)
    v = guided_velocity(lambda z, t: torch.zeros_like(z), x, 0.0, prefix)
    torch.testing.assert_close(v, torch.tensor(beta, dtype=dtype) * (prefix.target - x))
    assert v.isfinite().all()


# --- closed form --------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.2, 0.5, 0.8])
def test_linear_denoiser_closed_form(tau: float) -> None:
    """For v = M·x + b the correction is (I + (1 − τ)·M)ᵀ·W·(Y − Â), written out."""
    rng = np.random.default_rng(5)
    matrix, offset = rng.normal(size=(H * A, H * A)) / 8, rng.normal(size=H * A)
    weights = prefix_weights(Window(delay=4, end=9), H, Schedule.EXP)
    prefix, x = make_prefix(weights), make_noise()
    flat, target = x.numpy().ravel(), prefix.target.numpy().ravel()
    v = matrix @ flat + offset
    error = np.repeat(weights, A) * (target - (flat + (1 - tau) * v))
    factor = BETA if tau == 0 else min(BETA, (tau**2 + (1 - tau) ** 2) / (tau * (1 - tau)))
    expected = v + factor * (np.eye(H * A) + (1 - tau) * matrix).T @ error

    def velocity(z: Tensor, time: Tensor) -> Tensor:
        return (z.flatten(1) @ torch.from_numpy(matrix.T) + torch.from_numpy(offset)).view_as(z)

    with torch.no_grad():
        found = guided_velocity(velocity, x, tau, prefix)
    np.testing.assert_allclose(found.numpy().ravel(), expected, rtol=1e-12, atol=1e-12)


@given(a=st.floats(-2, 0.5), weight=st.floats(0, 1), target=st.floats(-3, 3), start=st.floats(-3, 3))
def test_scalar_recursion(a: float, weight: float, target: float, start: float) -> None:
    """For v = a·x the whole sampler is a recursion of single numbers that can be written by hand."""
    x = start
    for tau, factor in zip((0, 0.2, 0.4, 0.6, 0.8), (5, 4.25, 13 / 6, 13 / 6, 4.25), strict=True):
        slope = 1 + (1 - tau) * a
        x += (a * x + factor * slope * weight * (target - slope * x)) / 5
    one = torch.ones((1, 1, 1), dtype=torch.float64)
    prefix = Prefix(one * target, one[0] * weight, torch.tensor([BETA]), torch.tensor([True]))
    with torch.no_grad():
        found = sample(lambda z, t: a * z, one * start, 5, prefix)
    assert found.item() == pytest.approx(x, rel=1e-9, abs=1e-9)


# --- an independent network and Jacobian in NumPy ------------------------------------------------


def numpy_clean(network: FlowNetwork, x: Numbers, tau: float, observation: FloatArray) -> Numbers:
    """The network's clean chunk in plain NumPy, for real or complex `x` of shape (n, H·A)."""
    p = {name: value.numpy() for name, value in network.state_dict().items()}

    def linear(name: str, z: Numbers) -> Numbers:
        return z @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def silu(z: Numbers) -> Numbers:
        return z / (1 + np.exp(-z))

    def norm(name: str, z: Numbers) -> Numbers:
        centred = z - z.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / spread * p[f"{name}.weight"] + p[f"{name}.bias"]

    features = [
        tau,
        *(np.sin(np.pi * f * tau) for f in (1, 2, 4)),
        *(np.cos(np.pi * f * tau) for f in (1, 2, 4)),
    ]
    seen = linear("observation.2", silu(linear("observation.0", observation)))
    condition = silu(seen + linear("time", np.tile(features, H)))
    hidden = linear("chunk_in", x)
    for k in range(network.shape.depth):
        inner = norm(f"blocks.{k}.body.0", hidden + linear(f"blocks.{k}.condition", condition))
        hidden = hidden + linear(f"blocks.{k}.body.3", silu(linear(f"blocks.{k}.body.1", inner)))
    return linear("chunk_out.1", norm("chunk_out.0", hidden))


def numpy_guided(
    network: FlowNetwork, x: FloatArray, tau: float, observation: FloatArray, prefix: Prefix
) -> FloatArray:
    """The guided velocity, its Jacobian taken column by column with the complex step."""
    tiny = 1e-30
    columns = numpy_clean(network, x + 1j * tiny * np.eye(H * A), tau, observation).imag / tiny
    clean = numpy_clean(network, x[None], tau, observation)[0].real
    weights = np.repeat(prefix.weights[0].numpy(), A)
    # columns[j, i] = ∂Â_i/∂x_j, so the vector-Jacobian product is a plain matrix product.
    correction = columns @ (weights * (prefix.target[0].numpy().ravel() - clean))
    factor = BETA if tau == 0 else min(BETA, (tau**2 + (1 - tau) ** 2) / (tau * (1 - tau)))
    return np.asarray((clean - x) / (1 - tau) + factor * correction)


@pytest.mark.parametrize("schedule", Schedule)
def test_exact_guidance_equals_numpy(network: FlowNetwork, schedule: Schedule) -> None:
    """Five guided Euler steps through the real network agree with NumPy's own product to 1e-9."""
    net, observation = field(network)
    prefix = make_prefix(prefix_weights(Window(delay=3, end=10), H, schedule))
    x = make_noise()[0].numpy().ravel()
    for k in range(5):
        x = x + numpy_guided(net, x, k / 5, observation[0].numpy(), prefix) / 5
    with torch.no_grad():
        found = sample(lambda z, t: net(z, t, observation), make_noise(), 5, prefix)
    np.testing.assert_allclose(found.numpy().ravel(), x, rtol=1e-9, atol=1e-9)


# --- what tells the true product from its look-alikes --------------------------------------------


def test_exact_moves_steps_of_weight_zero(network: FlowNetwork) -> None:
    """The true product also corrects steps beyond the window; the identity leaves them alone."""
    net, observation = field(network)
    weights = prefix_weights(Window(delay=3, end=8), H, Schedule.EXP)
    with torch.no_grad():
        plain = net(make_noise(), torch.full((1, H), 0.4, dtype=torch.float64), observation)
        exact, identity = (
            guided_velocity(
                lambda z, t: net(z, t, observation), make_noise(), 0.4, make_prefix(weights, exact=e)
            )
            for e in (True, False)
        )
    torch.testing.assert_close(identity[:, 8:], plain[:, 8:], rtol=0, atol=0)
    assert (exact[:, 8:] - plain[:, 8:]).abs().amax(dim=(0, 2)).min() > 1e-6
    assert (exact[:, :8] - identity[:, :8]).abs().max() > 1e-2


def test_identity_is_the_weighted_error(network: FlowNetwork) -> None:
    """With the identity Jacobian the correction is W ⊙ (Y − Â) times the factor, nothing else."""
    net, observation = field(network)
    prefix, x, tau = make_prefix(np.linspace(1, 0, H), exact=False), make_noise(), 0.4
    with torch.no_grad():
        v = net(x, torch.full((1, H), tau, dtype=torch.float64), observation)
        found = guided_velocity(lambda z, t: net(z, t, observation), x, tau, prefix)
    error = prefix.weights[..., None] * (prefix.target - (x + (1 - tau) * v))
    torch.testing.assert_close(found, v + guidance_factor(tau) * error)


def test_rows_choose_their_own_jacobian(network: FlowNetwork) -> None:
    """In one batch a row guided exactly and one guided by the identity each equal their own batch."""
    net, observation = field(network, rows=2)
    weights, x = np.linspace(1, 0, H), make_noise(rows=2)
    both = make_prefix(weights, rows=2)
    mixed = Prefix(both.target, both.weights, both.max_weight, torch.tensor([True, False]))
    identity = Prefix(both.target, both.weights, both.max_weight, torch.tensor([False, False]))
    with torch.no_grad():
        a, b, c = (
            guided_velocity(lambda z, t: net(z, t, observation), x, 0.4, prefix)
            for prefix in (mixed, both, identity)
        )
    torch.testing.assert_close(a, torch.stack([b[0], c[1]]), rtol=0, atol=0)


def test_hard_mask_without_delay_is_the_plain_sampler(network: FlowNetwork) -> None:
    """With d = 0 and the hard mask guidance has nothing to hold and changes not one bit."""
    net, observation = field(network)
    prefix = make_prefix(prefix_weights(Window(delay=0, end=9), H, Schedule.ZEROS))
    with torch.no_grad():
        plain, guided = (
            sample(lambda z, t: net(z, t, observation), make_noise(), 5, p) for p in (None, prefix)
        )
    torch.testing.assert_close(guided, plain, rtol=0, atol=0)


@pytest.mark.parametrize("guided", [False, True])
@settings(deadline=None, max_examples=20)
@given(steps=st.integers(1, 20))
def test_exactly_n_evaluations(guided: bool, steps: int) -> None:
    """The network is evaluated n times, at τ = 0, 1/n … (n − 1)/n for every token, never at 1."""
    seen: list[float] = []

    def velocity(z: Tensor, time: Tensor) -> Tensor:
        assert time.shape == (1, H)
        assert (time == time[0, 0]).all()
        seen.append(time[0, 0].item())
        return -z

    with torch.no_grad():
        sample(velocity, make_noise(), steps, make_prefix(np.ones(H)) if guided else None)
    assert seen == pytest.approx([k / steps for k in range(steps)])


@pytest.mark.parametrize("exact", [True, False])
def test_bfloat16_is_finite_from_the_first_step(network: FlowNetwork, exact: bool) -> None:
    """A network in bfloat16 samples guided chunks without an undefined number."""
    net = network.bfloat16()
    observation = torch.zeros((1, 5), dtype=torch.bfloat16)
    prefix = make_prefix(np.ones(H), exact=exact, dtype=torch.bfloat16)
    with torch.no_grad():
        chunk = sample(lambda z, t: net(z, t, observation), make_noise(dtype=torch.bfloat16), 5, prefix)
    assert chunk.dtype == torch.bfloat16
    assert chunk.isfinite().all()


def test_guidance_leaves_no_trace_in_the_network(network: FlowNetwork) -> None:
    """Exact guidance gives no parameter a gradient and returns nothing that holds a graph."""
    net, observation = field(network)
    with torch.no_grad():
        v = guided_velocity(lambda z, t: net(z, t, observation), make_noise(), 0.2, make_prefix(np.ones(H)))
    assert not v.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
