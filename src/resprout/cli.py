"""The `resprout` command: run a tree, check it, and look into one that runs.

Exit codes: 0 done (a tree: drained), 1 the tree gave up, 2 wrong usage, 78 bad configuration, 130 forced by a
second Ctrl-C.
"""

from __future__ import annotations

import math
import sys
from typing import NoReturn

import click
from rich.markup import escape
from rich.tree import Tree

from resprout import live
from resprout.live import as_json, print_json, text_console
from resprout.loading import BadTarget, load_tree
from resprout.outline import Outline, check_tree
from resprout.runtime import Recipe, TreeError, log_to_stderr
from resprout.runtime import run as run_tree
from resprout.runtime.lastresort import FORCED
from resprout.runtime.main import BAD_CONFIGURATION
from resprout.runtime.watchdog import BLOCKED_AFTER, SHORTEST


def _target(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse what cannot name a tree. The import comes later, so that wrong usage is found first."""
    module, colon, attribute = value.partition(":")
    if colon and all(part.isidentifier() for part in (attribute, *module.split("."))):
        return value
    raise click.BadParameter(f"{value!r} names no tree; write it as MODULE:TREE, such as shop.app:tree")


target = click.argument("target", metavar="MODULE:TREE", callback=_target)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="resprout")
def main() -> None:
    """Supervision trees that grow back.

    Exit codes: 0 drained, 1 the tree gave up, 2 wrong usage, 78 bad configuration, 130 forced by a second
    Ctrl-C.
    """


main.add_command(live.tree)
main.add_command(live.info)
main.add_command(live.restart)


@main.command()
@target
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Which log lines are written, unless the program sets structlog up itself.",
)
@click.option(
    "--blocked-after",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=BLOCKED_AFTER,
    show_default=True,
    help="Name the actor that keeps all others from running for so long; 0 for never.",
)
def run(target: str, log_level: str, blocked_after: float) -> None:
    """Run a tree until Ctrl-C, SIGTERM or SIGHUP, which stop it in order; a second Ctrl-C or SIGTERM forces it."""
    tree = _load(target)
    log_to_stderr(log_level)
    try:
        run_tree(tree, blocked_after=max(blocked_after, SHORTEST) if blocked_after else math.inf)
    except KeyboardInterrupt:  # One that came up inside an actor; the tree has been stopped in order.
        sys.exit(FORCED)


@main.command()
@target
@as_json
def check(target: str, as_json: bool) -> None:
    """Print a tree and how long it may take to stop; start nothing."""
    try:
        outline = check_tree(_load(target))
    except TreeError as error:
        _bad_configuration(error)
    if as_json:
        print_json(outline)
    else:
        _print(outline)


def _load(target: str) -> Recipe:
    try:
        return load_tree(target)
    except (BadTarget, TreeError) as error:
        _bad_configuration(error)


def _bad_configuration(error: Exception) -> NoReturn:
    click.echo(f"resprout: bad configuration: {error}", err=True)
    sys.exit(BAD_CONFIGURATION)


def _print(outline: Outline) -> None:
    console, places = text_console(), outline.walk()
    console.print(_drawn(outline))
    assumed = any(place.open_ended for place in places)
    note = ", if children made at runtime keep the default shutdown time" if assumed else ""
    console.print(f"\n{len(places)} places; {_stops(outline.stops_within)} at worst{note}.")


def _drawn(outline: Outline) -> Tree:
    words = [f"[bold]{escape(outline.id)}[/]", f"[cyan]{escape(outline.kind)}[/]", outline.restart]
    if outline.strategy:
        words += [outline.strategy, outline.intensity]
    if outline.name is not None and outline.name != outline.id:
        words.append(f"as {escape(outline.name)}")
    words.append(f"[dim]{_stops(outline.stops_within)}[/]")
    drawn = Tree("  ".join(words))
    for child in outline.children:
        drawn.add(_drawn(child))
    return drawn


def _stops(within: float) -> str:
    return "stops without limit" if math.isinf(within) else f"stops within {within:g} s"
