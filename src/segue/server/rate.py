"""How often one may ask: a bucket of tokens for each key, in one number each.

Pure; the time is an argument. A bucket holds `burst` tokens, refills at
`per_s`, and a question takes one. Kept is only the time at which the bucket
will be full again: a question that would move it further than a whole burst
ahead finds the bucket empty. A full bucket is the same as none, so the table
forgets it, and whoever comes with ever new keys costs no more than `most` of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and so many at once."""

    per_s: float
    burst: int

    def taken(self, full_ns: int, now_ns: int) -> int | None:
        """Returns when the bucket will be full again after one token more; None when it is empty.

        Args:
            full_ns: when it will be full as it is; any time in the past for a full one.
            now_ns: on the same clock.
        """
        token_ns = round(NS_PER_S / self.per_s)
        after_ns = max(full_ns, now_ns) + token_ns
        return after_ns if after_ns - now_ns <= self.burst * token_ns else None


class Buckets:
    """A bucket for each key."""

    def __init__(self, rate: Rate, most: int = 4096) -> None:
        """Starts with every bucket full, and keeps `most` that are not."""
        self._rate = rate
        self._most = most
        self._full_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._full_ns)

    def take(self, key: str, now_ns: int) -> bool:
        """Takes a token of `key` and returns True; False when it has none left."""
        after_ns = self._rate.taken(self._full_ns.get(key, now_ns), now_ns)
        if after_ns is None:
            return False
        self._full_ns[key] = after_ns
        if len(self._full_ns) > self._most:
            self._forget(now_ns)
        return True

    def _forget(self, now_ns: int) -> None:
        """Drops the full buckets, and half of the others, the fullest first, if none is."""
        kept = sorted(((at, key) for key, at in self._full_ns.items() if at > now_ns), reverse=True)
        self._full_ns = {key: at for at, key in kept[: self._most // 2]}
