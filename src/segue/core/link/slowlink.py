"""Whether the link is too slow for the pictures as they are.

Pictures are nearly all that goes up. On a slow link they make every request
late, and sending more of them would only queue: so after two slow uploads in a
row the pictures are made smaller, once, and that is said. A deadline that
passes counts as slow only after an upload that was measured to be slow: an
unanswered request alone says nothing about the pictures. There is no way back
within a run: a picture that changes its quality to and fro is worse for a
policy than a coarse one.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOW_IN_A_ROW = 2


@dataclass(frozen=True, slots=True)
class SlowLinkRule:
    """When pictures become smaller, and how small.

    Attributes:
        upload_ns: an upload that takes longer is slow.
        quality: of JPEG from then on, 1..100; no change where it is that low already.
    """

    upload_ns: int = 200_000_000
    quality: int = 40


class SlowLink:
    """Counts slow uploads in a row until the pictures are made smaller."""

    def __init__(self, rule: SlowLinkRule) -> None:
        self._rule = rule
        self._slow = 0
        self.done = False

    def __repr__(self) -> str:
        return f"<SlowLink slow={self._slow} done={self.done}>"

    def uploaded(self, upload_ns: int) -> bool:
        """Notes how long a request took on the network alone, ns; returns whether to act, now and once."""
        if upload_ns <= self._rule.upload_ns:
            self._slow = 0
            return False
        return self._count()

    def missed(self) -> bool:
        """Notes a request without an answer in time; returns whether to act, now and once."""
        return self._count() if self._slow else False

    def _count(self) -> bool:
        self._slow += 1
        if self.done or self._slow < SLOW_IN_A_ROW:
            return False
        self.done = True
        return True
