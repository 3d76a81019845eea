"""`python -m tests.faults [CODE…]`: all faults against all components, as a table and as docs/faults.md.

Exits with 1 if a law was broken. With codes, such as ``F1 F3``, only these run, and the page stays as it is.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import attrs
import click
import trio
from rich.console import Console

from tests.faults.catalogue import FAULTS, SKIPPED
from tests.faults.cell import STAGES, Result, run_cell
from tests.faults.page import markdown, terminal

TOGETHER = "+"
PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@click.command()
@click.argument("codes", nargs=-1)
@click.option("--jobs", default=4, show_default=True, help="How many run at a time; they mostly wait.")
@click.option("--cell", nargs=2, hidden=True, help="Components and a code: run this and print it as JSON.")
def main(codes: tuple[str, ...], jobs: int, cell: tuple[str, str] | None) -> None:
    """Let faults strike the components, and judge."""
    if cell is not None:
        struck, code = cell
        (fault,) = (fault for fault in FAULTS if fault.code == code)
        came = trio.run(run_cell, struck.split(TOGETHER), fault)
        click.echo(json.dumps([attrs.asdict(result) for result in came]))
        return
    known = [fault.code for fault in FAULTS]
    if unknown := sorted(set(codes) - set(known)):
        raise click.UsageError(f"unknown faults: {', '.join(unknown)}; there are {', '.join(known)}")
    began = time.monotonic()
    results = trio.run(_run_all, codes or known, jobs)
    took = time.monotonic() - began
    Console(width=180).print(terminal(results))
    click.echo(f"{len(results)} cells in {took:.0f} s")
    if not codes:
        PAGE.write_text(markdown(results, _machine(jobs, took)))
    sys.exit(any(result.violations for result in results))


def _machine(jobs: int, took: float) -> str:
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {jobs} rows at a time, {took:.0f} s in all"


async def _run_all(codes: list[str] | tuple[str, ...], jobs: int) -> list[Result]:
    """Each in a process of its own, so that none can disturb another but through the machine."""
    places = trio.CapacityLimiter(jobs)
    wanted = [(struck, code) for code in codes for struck in _struck_by(code)]
    results: dict[tuple[str, str], list[Result]] = {}

    async def run(struck: str, code: str) -> None:
        async with places:
            results[struck, code] = came = await _run_apart(struck, code)
        verdict = "BROKEN" if any(result.violations for result in came) else "kept"
        click.echo(f"{code:5} {struck:8} {verdict}", err=True)

    async with trio.open_nursery() as nursery:
        for struck, code in wanted:
            nursery.start_soon(run, struck, code)
    return [result for each in wanted for result in results[each]]


def _struck_by(code: str) -> list[str]:
    """One component after the other, or all of them together."""
    (fault,) = (fault for fault in FAULTS if fault.code == code)
    return [TOGETHER.join(STAGES)] if fault.together else [c for c in STAGES if (code, c) not in SKIPPED]


async def _run_apart(struck: str, code: str) -> list[Result]:
    command = [sys.executable, "-m", "tests.faults", "--cell", struck, code]
    done = await trio.run_process(command, capture_stdout=True, check=False)
    if done.returncode:
        (fault,) = (fault for fault in FAULTS if fault.code == code)
        return [_not_run(struck, code, fault.name, f"it ended with {done.returncode}")]
    return [Result(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def _not_run(component: str, code: str, fault: str, why: str) -> Result:
    return Result(
        component=component,
        code=code,
        fault=fault,
        lasted=0.0,
        first=None,
        well=None,
        ok=0,
        failed=0,
        unknown=0,
        attempts=0,
        lag=0.0,
        violations=[f"it could not be run: {why}"],
    )


if __name__ == "__main__":
    main()
