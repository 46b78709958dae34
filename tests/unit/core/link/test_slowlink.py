from __future__ import annotations

from segue.core.link.slowlink import SlowLink, SlowLinkRule

MS = 1_000_000
RULE = SlowLinkRule(upload_ns=200 * MS)


def test_two_slow_uploads_in_a_row_act_once() -> None:
    """The second slow upload in a row asks for smaller pictures, and none after it does again."""
    link = SlowLink(RULE)
    assert [link.uploaded(ms * MS) for ms in (201, 500, 500, 500)] == [False, True, False, False]


def test_one_slow_upload_is_an_accident() -> None:
    """A quick upload between two slow ones starts the count anew; exactly the limit is quick."""
    link = SlowLink(RULE)
    assert not any(link.uploaded(ms * MS) for ms in (500, 200, 500, 10, 500))


def test_a_deadline_counts_only_after_a_slow_upload() -> None:
    """A server that does not answer is no slow link; one that was slow and then misses is."""
    link = SlowLink(RULE)
    assert not any(link.missed() for _ in range(5))
    assert not link.uploaded(300 * MS)
    assert link.missed()
