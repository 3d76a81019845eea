"""Run the chat, load it, break it on purpose, and watch it heal: `make demo`.

Exits with 0 if every promise was kept and with 1 if not. ``--json`` prints one JSON object on standard output
and everything else on standard error.
"""

import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import click
import structlog
import trio
from rich.console import Console

from examples.chat.demo.audit import audit, missing_messages
from examples.chat.demo.books import Books
from examples.chat.demo.faults import Saboteur, children_of, living_in
from examples.chat.demo.load import Load
from examples.chat.demo.report import Report
from examples.chat.demo.sabotage import (
    BreakableRooms,
    BreakableTrending,
    BreakableVerifier,
    BreakableWebSocketServer,
    Switch,
)
from examples.chat.demo.view import show_tree
from examples.chat.demo.wait import until
from examples.chat.names import POSTGRES_SERVER, REDIS_SERVER
from examples.chat.settings import Settings
from examples.chat.tree import Parts, build
from resprout import Name, log_events, open_runtime
from resprout.actors.auth import AuthPolicy
from resprout.actors.process import Endpoint, ServerProcess
from resprout.runtime.breaker_policy import BreakerPolicy

QUICK = AuthPolicy(
    breaker=BreakerPolicy(open_for=1.0, open_cap=2.0)
)  # 30 s by default, and nobody wants to watch that.


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def main(as_json: bool) -> None:
    """Run the chat, load it, break it on purpose, and watch it heal."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="resprout-demo-") as directory:
        Path(directory).chmod(0o711)  # Servers may run as another user, who has to get through.
        _log_to(Path(directory) / "log")
        report = trio.run(_demo, Path(directory), console)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    report.print(console)
    sys.exit(0 if report.kept else 1)


async def _demo(directory: Path, console: Console) -> Report:
    began, before = time.monotonic(), children_of(os.getpid())
    verifier, switch = BreakableVerifier(), Switch()
    tree = build(
        Settings(data=directory / "servers", live_port=0, http_port=0),
        Parts(
            rooms=BreakableRooms,
            trending=partial(BreakableTrending, switch=switch),
            live=BreakableWebSocketServer,
            verifier=verifier,
            auth=QUICK,
        ),
    )
    books = Books()
    async with open_runtime(tree) as runtime:
        log_events(runtime.events)
        console.print(f"{len(runtime.snapshot().walk())} actors run; the load begins")
        async with show_tree(runtime, console) as tell:
            await _load_and_break(books, Saboteur(runtime, books, verifier, switch, tell))
        findings = await audit(books, _url(REDIS_SERVER), _url(POSTGRES_SERVER))
    orphans = _left_behind(directory, before)
    return Report(books, findings, len(orphans), time.monotonic() - began)


async def _load_and_break(books: Books, saboteur: Saboteur) -> None:
    """Load, faults, then quiet: what was accepted has ten seconds to arrive."""
    load = Load(books, saboteur.runtime)
    await load.move_in()
    async with trio.open_nursery() as listeners:
        async with trio.open_nursery() as people:
            load.start(people, listeners)
            await trio.sleep(2)
            await saboteur.run()
            load.stopping = True
        with trio.move_on_after(10):
            await until(lambda: not missing_messages(books))
        listeners.cancel_scope.cancel(reason="the demo is over")


def _url(server: Name[ServerProcess]) -> str:
    endpoint = server.offered(Endpoint)
    if endpoint is None:
        raise RuntimeError(f"{server!r} does not run at the end of the demo")
    return endpoint.url


def _left_behind(directory: Path, before: set[int]) -> set[int]:
    """Processes that are our children, or live in the demo's directory, and should not."""
    return (children_of(os.getpid()) - before) | living_in(directory)


def _log_to(path: Path) -> None:
    """Log lines go to a file, so that they do not come between the lines of the demo."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(path.open("w", buffering=1)))


if __name__ == "__main__":
    main()
