"""Ratios to raw trio in the same run, as rows and as a table in Markdown."""

from collections.abc import Mapping
from typing import Literal, TypedDict

import attrs

from benchmarks.peers.measure import Session

Kind = Literal["time", "rate", "bytes", "growth"]


@attrs.frozen
class Line:
    """A line of the table. Times and rates are ratios to raw trio: small times and big rates are good."""

    title: str
    figure: str
    kind: Kind


LINES = (
    Line("W1 call, p50", "call", "time"),
    Line("W1 call, 100 clients, against one raw client", "clients", "time"),
    Line("W2 cast", "cast", "rate"),
    Line("W3 cast, 100 to 1", "fan_in", "rate"),
    Line("W4 ring, hops", "ring", "rate"),
    Line("W5 spawn", "spawn", "time"),
    Line("W5 spawn and stop", "spawn_stop", "time"),
    Line("W5 idle actor", "memory", "bytes"),
    Line("W6 crash to first answer", "crash", "time"),
    Line("W7 many actors against 1", "many", "growth"),
)


class PeerRow(TypedDict):
    """One line of `peers.json`: a value for each package that gave one."""

    name: str
    better: Literal["lower", "higher"]
    values: dict[str, float]


def rows(session: Session) -> list[PeerRow]:
    """The lines for which anybody gave a figure."""
    found = [
        PeerRow(
            name=line.title,
            better="higher" if line.kind == "rate" else "lower",
            values={
                package: round(value, 3)
                for package, figures in session.medians.items()
                if (value := _value(line, figures, session.medians.get("trio", {}))) is not None
            },
        )
        for line in LINES
    ]
    return [row for row in found if row["values"]]


def _value(line: Line, figures: Mapping[str, float], raw: Mapping[str, float]) -> float | None:
    if line.figure not in figures:
        return None
    figure = figures[line.figure]
    match line.kind:
        case "bytes":
            return figure / 1_000
        case "growth":
            return figure / figures["one"]
        case "time":
            return figure / raw[line.figure] if line.figure in raw else None
        case "rate":
            return raw[line.figure] / figure if line.figure in raw else None


def markdown(session: Session) -> str:
    """The table for the documentation, and below it why a cell is empty."""
    packages = list(session.medians)
    names = [f"{package} {session.versions[package]}" for package in packages]
    lines = [_joined(["", *names]), _joined(["---"] * (len(names) + 1))]
    units = {line.title: _unit(line) for line in LINES}
    for row in rows(session):
        cells = [_cell(row, package, units[row["name"]]) for package in packages]
        lines.append(_joined([row["name"], *cells]))
    reasons = [
        f"- {package}: {reason}" if workload == "all" else f"- {package}, {workload}: {reason}"
        for package, by_workload in session.skipped.items()
        for workload, reason in by_workload.items()
    ]
    return "\n".join([*lines, "", *reasons] if reasons else lines) + "\n"


def _unit(line: Line) -> str:
    return {"bytes": "{:.1f} kB", "rate": "{:.2g}x", "time": "{:.2f}", "growth": "{:.2f}"}[line.kind]


def _cell(row: PeerRow, package: str, unit: str) -> str:
    return unit.format(row["values"][package]) if package in row["values"] else "-"


def _joined(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
