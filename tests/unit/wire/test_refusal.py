"""Refusals in a call's metadata."""

from __future__ import annotations

import pytest

from segue.wire import policy_pb2 as pb
from segue.wire.refusal import REFUSAL_KEY, Reason, Refusal, encode_refusal, refusal_in


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_arrives_as_it_was(reason: Reason) -> None:
    """Every reason, with differences and versions, comes back equal."""
    refusal = Refusal(reason, ("joints: robot has (a), policy expects (b)",), (1, 2))
    assert refusal_in([("other", "x"), (REFUSAL_KEY, encode_refusal(refusal))]) == refusal


@pytest.mark.parametrize(
    "metadata",
    [None, [], [("other", "x")], [(REFUSAL_KEY, b"\xff\xff")], [(REFUSAL_KEY, "text")]],
    ids=["none", "empty", "another key", "no message", "text"],
)
def test_metadata_without_a_refusal_is_no_error(metadata: list[tuple[str, str | bytes]] | None) -> None:
    """A server or proxy that sends no refusal is read as an unspecified one."""
    assert refusal_in(metadata) == Refusal(Reason.UNSPECIFIED)


def test_a_reason_of_a_newer_server_is_unspecified() -> None:
    """A reason that this side does not know is read as unspecified, its sentences kept."""
    data = pb.Refusal(reason=999, differences=["new"]).SerializeToString()  # type: ignore[arg-type]
    assert refusal_in([(REFUSAL_KEY, data)]) == Refusal(Reason.UNSPECIFIED, ("new",))


def test_a_refusal_fits_into_our_clients_metadata() -> None:
    """Ten endless differences still fit into the metadata that our own clients take."""
    refusal = Refusal(Reason.MISMATCH, ("x" * 100_000,) * 6)
    assert len(encode_refusal(refusal)) * 4 / 3 < 64 * 1024


def test_letters_of_many_bytes_fit_too() -> None:
    """Sentences are cut by their bytes, and never within a letter."""
    encoded = encode_refusal(Refusal(Reason.MISMATCH, ("\U0001f9be" * 6_000,) * 99))
    assert len(encoded) * 4 / 3 < 64 * 1024
    assert set("".join(refusal_in([(REFUSAL_KEY, encoded)]).differences)) == {"\U0001f9be"}


def test_a_refusal_cannot_play_tricks_on_a_terminal() -> None:
    """Whatever a server writes into its sentences, each arrives as one printable line."""
    data = pb.Refusal(differences=["\x1b[2Jjoints\ndiffer"]).SerializeToString()
    (sentence,) = refusal_in([(REFUSAL_KEY, data)]).differences
    assert sentence.isprintable()
    assert sentence.endswith("differ")
