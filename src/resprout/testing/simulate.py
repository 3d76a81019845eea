"""``python -m resprout.testing.simulate``: many seeds, one seed, or the smallest part of one that fails."""

from __future__ import annotations

import importlib
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click

from resprout.testing.simulation import SimulationFailed, check, plan_of, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILT_IN = "resprout.testing.simulated:random_tree"
BLOCK = 50


@click.command()
@click.argument("scenario", default=BUILT_IN)
@click.option("--seed", type=int, help="Simulate this seed only, and shrink it if it fails.")
@click.option("--seeds", type=click.IntRange(1), default=500, help="Simulate the seeds from 0 up to this.")
@click.option("--only", help="With --seed: numbers of its decisions to keep, such as 3,17; or none.")
@click.option("--without", multiple=True, help="With --seed: the path of a child to leave out; repeatable.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes to use.")
def main(
    scenario: str, seed: int | None, seeds: int, only: str | None, without: Sequence[str], jobs: int
) -> None:
    """Simulate SCENARIO, given as package.module:function; exit 1 if a promise is broken."""
    make = _load(scenario)
    name = "" if scenario == BUILT_IN else scenario
    if seed is None and (only is not None or without):
        raise click.UsageError("--only and --without are parts of one seed; give --seed as well")
    if seed is None:
        sys.exit(_many(scenario, seeds, jobs))
    if only is None and not without:
        failure = _failure(make, seed, name)
        click.echo(failure or f"seed {seed} keeps every promise")
        sys.exit(bool(failure))
    plan = plan_of(make, seed)
    kept = (
        plan.decisions
        if only is None
        else tuple(plan.decisions[at] for at in _numbers(only, len(plan.decisions)))
    )
    outcome = simulate(make, attrs.evolve(plan, decisions=kept, without=frozenset(without)))
    click.echo(
        "\n".join([*map(str, kept), "", *outcome.journal, "", outcome.broken or "every promise was kept"])
    )
    sys.exit(bool(outcome.broken))


def _many(scenario: str, seeds: int, jobs: int) -> int:
    blocks = [range(start, min(start + BLOCK, seeds)) for start in range(0, seeds, BLOCK)]
    failures: list[str] = []
    with ProcessPoolExecutor(jobs) as pool:
        for done, found in enumerate(pool.map(partial(_block, scenario), blocks), 1):
            failures += found
            click.echo(f"{min(done * BLOCK, seeds)} of {seeds} seeds, {len(failures)} failed", err=True)
            for failure in found:
                click.echo(failure)
    click.echo(f"{seeds} seeds: {len(failures)} failed")
    return bool(failures)


def _block(scenario: str, seeds: Sequence[int]) -> list[str]:
    make = _load(scenario)
    name = "" if scenario == BUILT_IN else scenario
    return [failure for seed in seeds if (failure := _failure(make, seed, name))]


def _failure(make: Any, seed: int, name: str) -> str:
    try:
        check(make, seed, name=name)
    except SimulationFailed as failed:
        return str(failed)
    return ""


def _numbers(only: str, count: int) -> list[int]:
    try:
        numbers = [] if only == "none" else [int(each) for each in only.split(",")]
    except ValueError:
        raise click.UsageError(f"--only needs numbers such as 3,17, not {only!r}") from None
    wrong = [number for number in numbers if not 0 <= number < count]
    if wrong:
        raise click.UsageError(f"--only {wrong[0]}: the plan has the decisions 0 to {count - 1}")
    return numbers


def _load(scenario: str) -> Any:
    module, _, attribute = scenario.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(f"{scenario}: {error}; give package.module:function") from None
    if not callable(make):
        raise click.UsageError(f"{scenario} is no function that makes a Scenario")
    return make


if __name__ == "__main__":
    main()
