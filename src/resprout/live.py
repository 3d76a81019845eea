"""Commands that look into a tree that runs, or change it: `resprout tree`, `info` and `restart`."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

import click
import msgspec
import trio
from rich.console import Console

from resprout.actors.console import (
    ConsolePathError,
    NoRuntimeError,
    RequestError,
    find_socket,
    render_info,
    render_tree,
    request_info,
    request_restart,
    request_tree,
)
from resprout.actors.console.render import printable

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
app = click.option("--app", metavar="NAME", help="Which tree, if several run: the name of its console.")


def text_console() -> Console:
    """A console that breaks no lines where no person looks."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=500)


def print_json(document: object) -> None:
    """Print *document*, anything msgspec can write, as indented JSON; infinity, which JSON lacks, as null."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def failing_clearly(command: Callable[P, None]) -> Callable[P, None]:
    """What goes wrong while asking is one line, and exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (NoRuntimeError, RequestError, ConsolePathError) as error:
            click.echo(f"resprout: {printable(str(error))}", err=True)
            sys.exit(1)

    return run


@click.command()
@app
@as_json
@failing_clearly
def tree(app: str | None, as_json: bool) -> None:
    """Print the tree that runs, as it is now."""
    snapshot = trio.run(request_tree, find_socket(app))
    if as_json:
        print_json(snapshot)
    else:
        text_console().print(render_tree(snapshot))


@click.command()
@click.argument("path")
@app
@as_json
@failing_clearly
def info(path: str, app: str | None, as_json: bool) -> None:
    """Print all that is known of the actor at PATH, such as app/redis."""
    found = trio.run(request_info, find_socket(app), path)
    if as_json:
        print_json(found)
    else:
        text_console().print(render_info(found))


@click.command()
@click.argument("path")
@app
@as_json
@failing_clearly
def restart(path: str, app: str | None, as_json: bool) -> None:
    """Stop the actor at PATH in order and start it again."""
    done = trio.run(request_restart, find_socket(app), path)
    if as_json:
        print_json(done)
    else:
        click.echo(f"{done.path} was restarted: incarnation {done.before} → {done.after}")
