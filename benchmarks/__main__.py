"""`python -m benchmarks [NAME[.PART]…]`: run the benchmarks, print a table, write `benchmarks/results.json`.

`actors.spawn` is one part of `actors`; see its `PARTS`. Exits with 1 if a benchmark could not run; a missed goal
is shown, and no reason to fail. `python -m benchmarks --peers` compares with other libraries instead; see
`benchmarks.peers.command`.
"""

import importlib
import json
import os
import platform
import sys
import traceback
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table

from benchmarks.compare import Row
from benchmarks.peers import command

NAMES = ("actors", "breaker", "redis_get", "recovery", "postgres_select")
RESULTS = Path(__file__).with_name("results.json")


def main(names: list[str]) -> int:
    if "--peers" in names:
        return command.main([name for name in names if name != "--peers"])
    unknown = sorted(name for name in names if name.partition(".")[0] not in NAMES)
    if unknown:
        sys.stderr.write(f"unknown benchmarks: {', '.join(unknown)}; there are {', '.join(NAMES)}\n")
        return 2
    rows, failed = [], []
    for name in names or NAMES:
        sys.stderr.write(f"measuring {name} …\n")
        try:
            rows += run(*name.split("."))
        except Exception:  # noqa: BLE001 - one that cannot run must not hide the others; it is shown.
            traceback.print_exc()
            failed.append(name)
    RESULTS.write_text(json.dumps({**machine(), "rows": rows}, indent=2) + "\n")
    Console().print(table(rows))
    if failed:
        sys.stderr.write(f"could not run: {', '.join(failed)}\n")
    return 1 if failed else 0


def run(name: str, *part: str) -> list[Row]:
    """The rows of one benchmark, or of one part of it."""
    found: list[Row] = importlib.import_module(f"benchmarks.{name}").measure(*part)
    return found


def machine() -> dict[str, str | int | None]:
    """What the figures depend on."""
    return {"python": platform.python_version(), "trio": trio.__version__, "cores": os.cpu_count()}


def table(rows: list[Row]) -> Table:
    drawn = Table("benchmark", "ratio", "goal", "", "in figures")
    for row in rows:
        sign = "≤" if row.get("better") == "lower" else "≥"
        goal = "" if row["goal"] is None else f"{sign} {row['goal']:g}"
        verdict = "" if row["goal"] is None else "[green]ok[/]" if row["ok"] else "[red]missed[/]"
        drawn.add_row(row["name"], f"{row['ratio']:.2f}", goal, verdict, row.get("note", ""))
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
