"""Arrays on the wire: a dtype by number, a shape, and little-endian bytes. Never a pickle.

Dtype, rank, every side and the number of bytes are checked with plain integers
before NumPy sees the data, and the array is a read-only view of the message's
own bytes, so a lie costs nothing but the refusal.
"""

from __future__ import annotations

import math

import numpy as np

from segue.core.types import FloatArray
from segue.wire import policy_pb2 as pb
from segue.wire.checks import wrong
from segue.wire.version import MAX_TENSOR_SIDE

_DTYPES: dict[int, np.dtype[np.float32] | np.dtype[np.float64]] = {
    pb.DTYPE_FLOAT32: np.dtype("<f4"),
    pb.DTYPE_FLOAT64: np.dtype("<f8"),
}
_ALLOWED = ", ".join(f"{number} ({dtype.name})" for number, dtype in _DTYPES.items())


def encode_tensor(array: FloatArray) -> pb.Tensor:
    """Returns `array` as a message; float32 stays float32, anything else travels as float64."""
    number = pb.DTYPE_FLOAT32 if array.dtype == np.float32 else pb.DTYPE_FLOAT64
    data = array.astype(_DTYPES[number], copy=False).tobytes()
    return pb.Tensor(dtype=number, shape=array.shape, data=data)


def decode_tensor(message: pb.Tensor, field: str, rank: int) -> FloatArray:
    """Returns the array in `message` as float64, read-only.

    Args:
        message: bytes that nobody has checked yet.
        field: its name in the protocol, for the error.
        rank: number of dimensions that it must have.

    Raises:
        RemoteProtocolError: dtype, shape and bytes do not agree.
    """
    dtype = _DTYPES.get(message.dtype)
    if dtype is None:
        raise wrong(field, f"unknown dtype {message.dtype}, allowed are {_ALLOWED}")
    if len(message.shape) != rank:
        raise wrong(field, f"{len(message.shape)} dimensions, expected {rank}")
    shape = tuple(message.shape)
    if not all(1 <= side <= MAX_TENSOR_SIDE for side in shape):
        raise wrong(field, f"shape {shape} is outside 1..{MAX_TENSOR_SIDE}")
    expected = math.prod(shape) * dtype.itemsize
    if len(message.data) != expected:
        raise wrong(field, f"{len(message.data)} bytes, shape {shape} of {dtype.name} needs {expected}")
    # A signalling NaN becomes a quiet one, and NumPy would warn of it on the terminal.
    with np.errstate(invalid="ignore"):
        flat: FloatArray = np.frombuffer(message.data, dtype=dtype).astype(np.float64, copy=False)
    array = flat.reshape(shape)
    array.setflags(write=False)
    return array
