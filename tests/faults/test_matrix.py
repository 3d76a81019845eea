"""The audit's scenarios on real servers: kill the connection, exhaust the pool, trip the breaker, and more.

A fast part of what `make faults` runs. Each time the component recovers by itself, and the history of all
calls keeps every law of `tests.faults.judge`.
"""

import pytest

from tests.faults.catalogue import FAULTS, SKIPPED, Fault
from tests.faults.cell import STAGES, run_cell

pytestmark = pytest.mark.real

QUICK = [
    pytest.param(component, fault, id=f"{fault.name}: {component}")
    for fault in FAULTS
    for component in STAGES
    if fault.quick is not None and (fault.code, component) not in SKIPPED
]


@pytest.mark.parametrize(("component", "fault"), QUICK)
async def test_the_component_keeps_every_law_and_recovers_by_itself(component: str, fault: Fault) -> None:
    result = await run_cell(component, fault, quick=True)
    assert result.violations == []
    assert result.ok > 20
