"""What a session's configuration means for merging."""

from __future__ import annotations

import pytest

from segue.core.facts import ExecutorConfig
from segue.core.merge import AGGREGATIONS
from segue.core.schedule import RequestRule
from segue.core.types import Strategy

from .driver import SPEC


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("aggregate", sorted(AGGREGATIONS))
def test_only_async_blends(strategy: Strategy, aggregate: str) -> None:
    """The aggregation counts for async alone: RTC and sync replace, whatever name is set."""
    config = ExecutorConfig(SPEC, 10.0, 10.0, 50, rule=RequestRule(strategy), aggregate=aggregate)
    assert config.blend is (AGGREGATIONS[aggregate] if strategy is Strategy.ASYNC else None)
    assert (config.blend is None) == (strategy is not Strategy.ASYNC or aggregate == "latest_only")
