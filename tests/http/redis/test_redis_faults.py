"""A few series of the fault table; `make faults` runs the many."""

from __future__ import annotations

import pytest

from tests.faults.runner import Table
from tests.faults.table import FAULTS


@pytest.mark.timeout(180)
async def test_every_fault_once() -> None:
    """Text is exact, each run has one end at every server, and nobody waits for too long."""
    table = Table(len(FAULTS), seed=1)
    await table.run(at_once=4)
    assert table.wrong == []
    assert sum(table.series.values()) == len(FAULTS)
