from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.robots import packets

IDS = st.integers(0, packets.MAX_ID)
DATA = st.binary(max_size=20)


@pytest.mark.parametrize(
    ("made", "bytes_hex"),
    [
        (packets.ping(1), "ffff010201fb"),
        (packets.read(1, 56, 2), "ffff0104023802be"),
        (packets.write(1, 40, b"\x01"), "ffff0104032801ce"),
        (packets.sync_read([1, 2], 56, 2), "fffffe0682380201023c"),
        (packets.sync_write(42, {1: b"\x00\x08", 2: b"\x10\x08"}), "fffffe0a832a0201000802100825"),
    ],
)
def test_instructions_are_the_manuals_bytes(made: bytes, bytes_hex: str) -> None:
    """Each instruction is the sequence of bytes that the vendor's manual prescribes."""
    assert made.hex() == bytes_hex


@given(IDS, st.integers(0, 255), DATA)
def test_a_status_packet_is_read_back(servo: int, error: int, data: bytes) -> None:
    """What a servo sends is what is found, and nothing is left over."""
    found, rest = packets.find_status(packets.packet(servo, error, data))
    assert found == packets.StatusPacket(servo, error, data)
    assert rest == b""


@given(IDS, DATA, st.integers(0, 30), st.integers(1, 255))
def test_a_garbled_packet_is_no_packet(servo: int, data: bytes, where: int, flip: int) -> None:
    """One changed byte is noticed: no packet with other contents is ever found."""
    sent = packets.packet(servo, 0, data)
    garbled = bytearray(sent)
    garbled[where % len(sent)] ^= flip
    found, _ = packets.find_status(bytes(garbled))
    assert found is None or found == packets.StatusPacket(servo, 0, data)


@given(st.binary(max_size=12), st.lists(st.tuples(IDS, DATA), min_size=1, max_size=4), st.data())
def test_packets_are_found_behind_noise_however_they_are_cut(
    noise: bytes, sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Bytes may come in any pieces and behind noise; whole packets are found in their order."""
    stream = noise.replace(b"\xff", b"") + b"".join(packets.packet(i, 0, d) for i, d in sent)
    kept, found = b"", []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        kept, stream = kept + stream[:cut], stream[cut:]
        packet, kept = packets.find_status(kept)
        while packet is not None:
            found.append((packet.id, packet.data))
            packet, kept = packets.find_status(kept)
    assert found[-len(sent) :] == sent or set(found) >= set(sent)


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(data: bytes) -> None:
    """No stream of bytes raises, and what is kept of it is its end."""
    found, rest = packets.find_status(data)
    assert data.endswith(rest)
    assert found is None or 0 <= found.error <= 255


def test_a_header_that_lies_about_its_length_hides_no_packet() -> None:
    """A packet behind the beginning of one that never ends is found."""
    whole = packets.packet(3, 0, b"\x01\x02")
    found, rest = packets.find_status(b"\xff\xff\x01\xf0" + whole)
    assert (found, rest) == (packets.StatusPacket(3, 0, b"\x01\x02"), b"")
