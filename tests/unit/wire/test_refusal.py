"""Refusals in a call's metadata."""

from __future__ import annotations

import pytest

from segue.wire import policy_pb2 as pb
from segue.wire.refusal import REFUSAL_KEY, Reason, Refusal, encode_refusal, refusal_in, said


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


def test_a_refusal_is_no_longer_than_somebody_reads() -> None:
    """A million differences, or one of a megabyte, are some pages, and how many more there are is said."""
    many = pb.Refusal(differences=[f"joint {number} differs" for number in range(1_000_000)])
    shown = refusal_in([(REFUSAL_KEY, many.SerializeToString())]).differences
    assert len(shown) <= 64
    assert shown[:2] == ("joint 0 differs", "joint 1 differs")
    long = pb.Refusal(differences=["a", "x" * 11_990, "b" * 100, "c"])
    shown = refusal_in([(REFUSAL_KEY, long.SerializeToString())]).differences
    assert shown == ("a", "x" * 11_990, "… and 2 more")
    one = pb.Refusal(differences=["x" * 1_000_000])
    (sentence,) = refusal_in([(REFUSAL_KEY, one.SerializeToString())]).differences
    assert len(sentence) == 12_000
    assert sentence.endswith("…")


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        (None, "no details"),
        ("", "no details"),
        ("failed to connect\n\tto all addresses", "failed to connect to all addresses"),
        ("\x1b[2Jall is well\u202e", "\ufffd[2Jall is well\ufffd"),
        ("x" * 8_000, "x" * 299 + "…"),
        ("\n" * 100_000, "no details"),
    ],
)
def test_what_comes_with_a_status_is_one_short_line(details: str | None, shown: str) -> None:
    """Eight kilobytes of text, escapes or line ends in a status are four lines of a terminal at most."""
    assert said(details) == shown
