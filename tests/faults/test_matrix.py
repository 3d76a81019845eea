"""The audit's scenarios on real servers: kill the connection, exhaust the pool, trip the breaker, and more.

A fast part of what `make faults` runs. Each time the component recovers by itself, and the history of all
calls keeps every law of `tests.faults.judge`.
"""

import pytest

from tests.faults.catalogue import FAULTS, SKIPPED, Fault
from tests.faults.cell import STAGES, run_cell

pytestmark = pytest.mark.real

QUICK = [
    pytest.param(struck, fault, id=f"{fault.name}: {' '.join(struck)}")
    for fault in FAULTS
    for struck in ([tuple(STAGES)] if fault.together else [(name,) for name in STAGES])
    if fault.quick is not None and (fault.code, struck[0]) not in SKIPPED
]


@pytest.mark.parametrize(("struck", "fault"), QUICK)
async def test_every_law_is_kept_and_it_recovers_by_itself(struck: tuple[str, ...], fault: Fault) -> None:
    for result in await run_cell(struck, fault, quick=True):
        assert result.violations == []
        assert result.ok > 20
