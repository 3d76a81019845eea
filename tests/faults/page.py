"""The results as a table: for a terminal, and as the page docs/faults.md."""

from collections.abc import Sequence

from rich.table import Table

from tests.faults.catalogue import ELSEWHERE, SKIPPED
from tests.faults.cell import Result

COLUMNS = (
    "fault",
    "component",
    "lasted",
    "first answer",
    "all well",
    "ok",
    "failed",
    "unknown",
    "violations",
)

HEAD = """# Faults

What happens to Redis, Postgres and logins when something breaks under load, on real servers. `make faults` runs all of
it, prints this table and writes this page; `make test` runs a fast part.

Each row: an empty server behind a proxy that can break connections ([testing.md](testing.md)), the component in a
supervised tree with its default settings (but 5 connections of Postgres and 200 commands in flight of Redis, so that
they can run out), and 12 callers who ask all the time, each call with a deadline of 1 s, as each step of a transaction.
Then
the fault, and after it nothing but waiting: nobody helps.

Every call is written down as it is made and as it ends, with a value of its own. In the end a judge compares that with
what the server holds, looked up with the plain client library. It accepts

- no reply that belongs to another call, no acknowledged write that is not there, no write that is there twice, or that
  ran although its caller was told that it failed;
- no count given to two callers, no counter below what was answered or above what may have run;
- no call that ended more than 0.5 s after its deadline (plus what this machine let the whole process wait), or with an
  error without a type;
- no connection of a pool that is lost count of, no crashed actor, no recovery later than 35 s, or 45 s after a hang, or
  60 s if all servers were killed at once; then no more attempts either than 1.2 times what the rules allow.

The columns:

- **lasted**: seconds from the fault to its end.
- **first answer**: seconds from there to the first good answer; **all well**: to the last bad one.
- **ok**: answered. **failed**: a typed error, nothing was done. **unknown**: it may have run; the error says so, or the
  caller left.

"""

FOOT = """
The verifier of the logins waits up to 0.5 s for the connection to its store (`on_down=WAIT`), so that a connection
that is made anew does not open the breaker; one that fails fast (`FAIL_FAST`) opens it at the first reset. Once the
breaker is open, logins come back when it asks again, up to half a minute later.

In F8 attempts are asked for all the time, and each number of bytes has half a second: one that needs more than the
connection says by itself, or that comes while the breaker is open, may pass without a cut.

Not in the table:

"""


def terminal(results: Sequence[Result]) -> Table:
    """For a person at a terminal."""
    table = Table()
    for column in COLUMNS:
        table.add_column(
            column, justify="left" if column in ("fault", "component", "violations") else "right"
        )
    for result in results:
        table.add_row(*_cells(result), style="red" if result.violations else "")
    return table


def markdown(results: Sequence[Result], machine: str) -> str:
    """The page."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "| --- | --- " + "| ---: " * 6 + "| --- |"]
    rows += ["| " + " | ".join(_cells(result)) + " |" for result in results]
    skipped = [f"- {code} for {component}: {why}." for (code, component), why in SKIPPED.items()]
    elsewhere = [f"- {fault}: {why}." for fault, why in ELSEWHERE.items()]
    return (
        HEAD
        + f"Measured on {machine}.\n\n"
        + "\n".join(rows)
        + "\n"
        + FOOT
        + "\n".join(skipped + elsewhere)
        + "\n"
    )


def _cells(result: Result) -> list[str]:
    return [
        f"{result.code} {result.fault}",
        result.component,
        f"{result.lasted:.1f}",
        _seconds(result.first),
        _seconds(result.well),
        str(result.ok),
        str(result.failed),
        str(result.unknown),
        "; ".join(result.violations) or "none",
    ]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"
