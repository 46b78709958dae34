"""Arrays on the wire."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.tensors import decode_tensor, encode_tensor

FLOAT64 = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))


def tensor(**changes: object) -> pb.Tensor:
    fields = {"dtype": pb.DTYPE_FLOAT64, "shape": [2], "data": bytes(16)} | changes
    return pb.Tensor(**fields)


@given(FLOAT64)
def test_float64_arrives_bit_for_bit(array: np.ndarray) -> None:
    """A float64 array comes back with the same bits, NaN and infinities included."""
    travelled = pb.Tensor.FromString(encode_tensor(array).SerializeToString())
    assert decode_tensor(travelled, "x", 2).tobytes() == array.tobytes()


def test_float32_travels_in_half_the_bytes_and_widens() -> None:
    """A float32 array travels as float32 and is float64 on arrival."""
    message = encode_tensor(np.array([0.1, 2.5], dtype=np.float32))
    decoded = decode_tensor(message, "x", 1)
    assert len(message.data) == 8
    assert decoded.dtype == np.float64
    assert decoded.tolist() == [float(np.float32(0.1)), 2.5]


def test_a_view_with_strides_arrives_in_order() -> None:
    """An array that is not contiguous arrives as it reads, not as it lies in memory."""
    array = np.arange(12.0).reshape(3, 4).T[::2]
    assert np.array_equal(decode_tensor(encode_tensor(array), "x", 2), array)


def test_what_arrives_cannot_be_written_to() -> None:
    """A decoded array is read-only."""
    with pytest.raises(ValueError, match="read-only"):
        decode_tensor(tensor(), "x", 1)[0] = 1.0


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": [-2]},
        {"shape": [0], "data": b""},
        {"shape": [2**40], "data": b""},
        {"shape": [65_536, 65_536, 65_536]},
        {"shape": [3]},
        {"shape": []},
        {"shape": [1, 2]},
        {"data": bytes(15)},
        {"data": b""},
        {"data": pickle.dumps([0.0, 0.0])},
        {"dtype": pb.DTYPE_UNSPECIFIED},
        {"dtype": 99},
    ],
    ids=str,
)
def test_a_tensor_that_lies_is_refused_by_name(bad: dict[str, object]) -> None:
    """A shape that is negative, zero, huge or at odds with the bytes, or an unknown dtype, is refused."""
    with pytest.raises(RemoteProtocolError, match="leftover"):
        decode_tensor(tensor(**bad), "leftover", 1)


@given(
    st.lists(st.integers(-(2**62), 2**62), max_size=4),
    st.binary(max_size=64),
    st.integers(-(2**31), 2**31 - 1),
)
def test_no_tensor_does_anything_but_decode_or_be_refused(shape: list[int], data: bytes, dtype: int) -> None:
    """Any dtype, shape and bytes give an array of that very shape, or a refusal."""
    try:
        decoded = decode_tensor(pb.Tensor(dtype=dtype, shape=shape, data=data), "x", len(shape))
    except RemoteProtocolError:
        return
    assert list(decoded.shape) == shape


def test_a_signalling_nan_is_a_nan_without_a_warning() -> None:
    """The one float32 that NumPy warns of when it is widened comes out as NaN, silently."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_tensor(pb.Tensor(dtype=1, shape=[1], data=b"\x00\x00\x82\x7f"), "x", 1)
    assert np.isnan(decoded[0])
