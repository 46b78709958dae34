"""Values that exist only on the wire: what a session fixes, and what a server reports.

They stand beside the core's types in the signatures of the codec, so that
nobody outside this room has to know the generated messages. No logic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from segue.core.specs import PolicySpec, RobotSpec
from segue.core.types import Guidance
from segue.wire.version import PROTOCOL_VERSION


class Encoding(StrEnum):
    """How a picture travels."""

    JPEG = "jpeg"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A picture as it travels; `height` and `width` in pixels."""

    encoding: Encoding
    height: int
    width: int
    data: bytes


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What stays the same over the requests of a session, or changes at the client's wish.

    Attributes:
        robot_id: a label for logs.
        session_id, spec_hash: as `Open` returned them.
        task: what to do, in words, one line.
        guidance: how to continue a leftover.
        chunk_length: H, actions the robot will use; 0 means the policy's horizon.
        seed: of the policy's noise, at least 0.
    """

    robot_id: str
    session_id: str
    spec_hash: str
    task: str
    guidance: Guidance
    chunk_length: int
    seed: int


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a robot says of itself and wishes, once per session.

    Attributes:
        policy: the one asked for; empty means the server's own.
        chunk_length: actions wished per chunk; 0 means the policy's horizon.
        previous_session_id: the session whose place the new one takes; may be empty.
        auto: the strategy in `guidance` is nobody's wish: whoever sends this decides it when it knows
            the policy. Does not travel.
    """

    robot_id: str
    robot: RobotSpec
    policy: str = ""
    guidance: Guidance = field(default_factory=Guidance)
    chunk_length: int = 0
    previous_session_id: str = ""
    protocol_version: int = PROTOCOL_VERSION
    auto: bool = False


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to a handshake that it accepts.

    Attributes:
        policy: its spec; `warm_inference_ns` includes a rehearsed latency.
        configuration: what the server made of the wishes, for people.
    """

    session_id: str
    policy: PolicySpec
    spec_hash: str
    configuration: Mapping[str, str]
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """What a server offers; `policies[0]` is the one that an empty name means."""

    server_version: str
    protocol_versions: tuple[int, ...]
    policies: tuple[PolicySpec, ...]
    ready: bool


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """How long each stage took in the server; `total_ns` from the bytes in hand to the reply in hand."""

    queue_ns: int = 0
    decoding_ns: int = 0
    preprocessing_ns: int = 0
    inference_ns: int = 0
    postprocessing_ns: int = 0
    total_ns: int = 0
