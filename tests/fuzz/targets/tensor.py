"""A `Tensor`: an array of the rank asked for, made of the message's own bytes, or refused.

The first byte chooses the rank.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from segue.errors import RemoteProtocolError
from segue.wire import policy_pb2 as pb
from segue.wire.tensors import decode_tensor, encode_tensor
from segue.wire.version import MAX_TENSOR_SIDE

from . import world

KIND = pb.Tensor


def check(data: bytes) -> None:
    """Decodes all but the first byte as an array."""
    rank = 1 + (data[0] & 1 if data else 0)
    try:
        message = pb.Tensor.FromString(data[1:])
        array = decode_tensor(message, "field", rank)
    except DecodeError:
        return
    except RemoteProtocolError as error:
        world.check_sentence(str(error))
        return
    assert array.ndim == rank
    assert array.dtype == np.float64
    assert not array.flags.writeable
    assert 1 <= min(array.shape) <= max(array.shape) <= MAX_TENSOR_SIDE
    assert array.nbytes <= 2 * len(data)
    again = decode_tensor(encode_tensor(array), "field", rank)
    assert np.array_equal(array, again, equal_nan=True)
