"""The handshake and the description of a server, to messages and back."""

from __future__ import annotations

from segue.wire import policy_pb2 as pb
from segue.wire.checks import brief, check_name, check_range, check_text, quoted, wrong
from segue.wire.records import Handshake, ServerDescription, Welcome
from segue.wire.specs_codec import (
    decode_guidance,
    decode_policy_spec,
    decode_robot_spec,
    encode_guidance,
    encode_policy_spec,
    encode_robot_spec,
)
from segue.wire.version import (
    MAX_FACTS,
    MAX_HORIZON,
    MAX_POLICIES,
    MAX_TASK_CHARS,
    MAX_VERSIONS,
    SUPPORTED_VERSIONS,
)

_MAX_POLICY_CHARS = 1024


def encode_handshake(handshake: Handshake) -> pb.OpenRequest:
    """Returns the message that opens a session."""
    return pb.OpenRequest(
        protocol_version=handshake.protocol_version,
        robot_id=handshake.robot_id,
        robot=encode_robot_spec(handshake.robot),
        policy=handshake.policy,
        guidance=encode_guidance(handshake.guidance),
        chunk_length=handshake.chunk_length,
        previous_session_id=handshake.previous_session_id,
    )


def decode_handshake(message: pb.OpenRequest) -> Handshake:
    """Returns what a robot says of itself.

    The policy's name is only bounded in length here: what may be named is the store's to say.

    Raises:
        RemoteProtocolError: a field is wrong; the text names it.
    """
    check_range(message.chunk_length, "chunk_length", 0, MAX_HORIZON)
    return Handshake(
        robot_id=check_name(message.robot_id, "robot_id"),
        robot=decode_robot_spec(message.robot),
        policy=check_text(message.policy, "policy", _MAX_POLICY_CHARS),
        guidance=decode_guidance(message.guidance),
        chunk_length=message.chunk_length,
        previous_session_id=check_text(message.previous_session_id, "previous_session_id"),
        protocol_version=message.protocol_version,
    )


def encode_welcome(welcome: Welcome) -> pb.OpenReply:
    """Returns the message that answers an accepted handshake."""
    return pb.OpenReply(
        protocol_version=welcome.protocol_version,
        session_id=welcome.session_id,
        policy=encode_policy_spec(welcome.policy),
        spec_hash=welcome.spec_hash,
        configuration=dict(welcome.configuration),
    )


def decode_welcome(message: pb.OpenReply) -> Welcome:
    """Returns the server's answer.

    Raises:
        RemoteProtocolError: a field is wrong, the hash is not that of the spec beside it, or the
            version is none that this side speaks.
    """
    if message.protocol_version not in SUPPORTED_VERSIONS:
        spoken = ", ".join(str(version) for version in SUPPORTED_VERSIONS)
        raise wrong("protocol_version", f"server speaks {message.protocol_version}, this robot {spoken}")
    policy = decode_policy_spec(message.policy)
    if message.spec_hash != policy.spec_hash():
        says = f"{quoted(message.spec_hash)} is not the hash of the spec beside it, {policy.spec_hash()}"
        raise wrong("spec_hash", says)
    return Welcome(
        session_id=check_name(message.session_id, "session_id"),
        policy=policy,
        spec_hash=message.spec_hash,
        configuration=_decode_facts(message),
        protocol_version=message.protocol_version,
    )


def _decode_facts(message: pb.OpenReply) -> dict[str, str]:
    check_range(len(message.configuration), "configuration: count", 0, MAX_FACTS)
    return {
        check_name(key, "configuration"): check_text(value, f"configuration: {brief(key)}", MAX_TASK_CHARS)
        for key, value in message.configuration.items()
    }


def encode_description(description: ServerDescription) -> pb.DescribeReply:
    """Returns the message that describes a server."""
    return pb.DescribeReply(
        server_version=description.server_version,
        protocol_versions=description.protocol_versions,
        policies=[encode_policy_spec(spec) for spec in description.policies],
        ready=description.ready,
    )


def decode_description(message: pb.DescribeReply) -> ServerDescription:
    """Returns what a server says of itself.

    Raises:
        RemoteProtocolError: a field is wrong; the text names it.
    """
    check_range(len(message.policies), "policies: count", 0, MAX_POLICIES)
    check_range(len(message.protocol_versions), "protocol_versions: count", 0, MAX_VERSIONS)
    return ServerDescription(
        server_version=check_text(message.server_version, "server_version"),
        protocol_versions=tuple(message.protocol_versions),
        policies=tuple(decode_policy_spec(spec, f"policies[{i}]") for i, spec in enumerate(message.policies)),
        ready=message.ready,
    )
