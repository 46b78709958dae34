"""The handshake on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.core.specs import PolicySpec
from segue.errors import RemoteProtocolError
from segue.policies.scripted import ScriptedPolicy
from segue.wire import policy_pb2 as pb
from segue.wire.handshake import (
    decode_description,
    decode_handshake,
    decode_welcome,
    encode_description,
    encode_handshake,
    encode_welcome,
)
from segue.wire.records import Handshake, ServerDescription, Welcome
from tests.unit.wire.wire_samples import guidances, names, policy_specs, robot_specs

handshakes = st.builds(
    Handshake, names, robot_specs, names, guidances, st.integers(0, 500), names, st.integers(0, 9)
)

TOY = ScriptedPolicy()


@given(handshakes)
def test_a_handshake_arrives_as_it_was(handshake: Handshake) -> None:
    """What a robot says of itself and wishes comes back equal."""
    message = pb.OpenRequest.FromString(encode_handshake(handshake).SerializeToString())
    assert decode_handshake(message) == handshake


@given(policy_specs, names, st.dictionaries(names, names, max_size=3))
def test_a_welcome_arrives_as_it_was(
    policy: PolicySpec, session_id: str, configuration: dict[str, str]
) -> None:
    """The server's answer comes back equal."""
    welcome = Welcome(session_id, policy, policy.spec_hash(), configuration)
    message = pb.OpenReply.FromString(encode_welcome(welcome).SerializeToString())
    assert decode_welcome(message) == welcome


@given(policy_specs)
def test_a_welcome_whose_hash_is_not_of_its_spec_is_refused(policy: PolicySpec) -> None:
    """A spec that changed on its way does not pass for the one that was hashed."""
    message = encode_welcome(Welcome("session", policy, policy.spec_hash(), {}))
    message.policy.horizon += 1
    with pytest.raises(RemoteProtocolError, match="spec_hash"):
        decode_welcome(message)


@given(st.lists(policy_specs, max_size=2))
def test_a_description_arrives_as_it_was(policies: list[PolicySpec]) -> None:
    """What a server says of itself comes back equal."""
    description = ServerDescription("0.1.0", (1,), tuple(policies), True)
    assert decode_description(encode_description(description)) == description


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "x" * 2000])
def test_a_welcome_that_plays_tricks_on_a_terminal_is_refused(text: str) -> None:
    """What a server says of its configuration is short lines of text, because people read it."""
    policy = TOY.spec
    message = encode_welcome(Welcome("session", policy, policy.spec_hash(), {"device": text}))
    with pytest.raises(RemoteProtocolError, match="configuration: device"):
        decode_welcome(message)


def test_a_wrong_hash_is_shown_short() -> None:
    """A hash of many kilobytes does not become a line of many kilobytes."""
    message = encode_welcome(Welcome("session", TOY.spec, TOY.spec.spec_hash(), {}))
    message.spec_hash = "\x1b" * 70_000
    with pytest.raises(RemoteProtocolError) as refused:
        decode_welcome(message)
    assert len(str(refused.value)) < 500


def test_a_description_of_thousands_of_policies_is_refused() -> None:
    """A server that lists more policies than anybody has is refused before they are read."""
    message = encode_description(ServerDescription("0.1.0", (1,), (TOY.spec,), True))
    message.policies.extend([message.policies[0]] * 300)
    with pytest.raises(RemoteProtocolError, match="policies: count"):
        decode_description(message)
