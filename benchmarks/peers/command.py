"""`python -m benchmarks --peers [--python INTERPRETER] [WORKLOAD…]`: compare with the published libraries."""

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks.peers.environments import NoPython, version_of
from benchmarks.peers.measure import SIZES, measure
from benchmarks.peers.table import markdown, rows

RESULTS = Path(__file__).parents[1] / "peers.json"


def main(arguments: list[str]) -> int:
    """Print the table in Markdown, and write `benchmarks/peers.json`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks --peers", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(SIZES)}; all if none"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter for all contenders; this one if none"
    )
    asked = parser.parse_args(arguments)
    unknown = sorted(set(asked.workloads) - set(SIZES))
    if unknown:
        sys.stderr.write(f"unknown workloads: {', '.join(unknown)}; there are {', '.join(SIZES)}\n")
        return 2
    try:
        version = version_of(asked.python)
    except NoPython as error:
        sys.stderr.write(f"{error}\n")
        return 2
    session = measure(asked.python, asked.workloads or list(SIZES))
    found = {
        "python": version,
        "cores": os.cpu_count(),
        "versions": session.versions,
        "skipped": session.skipped,
        "figures": session.medians,
        "rows": rows(session),
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(f"Python {version}, {os.cpu_count()} cores\n\n{markdown(session)}")
    return 0
