"""A running tree as text for a terminal."""

from rich.console import Group, RenderableType
from rich.markup import escape as escape_markup
from rich.table import Table
from rich.tree import Tree

from resprout.actors.console.verbs import Info
from resprout.runtime.snapshot import Fact, Snapshot

COLOURS = {
    "running": "green",
    "ready": "green",
    "starting": "yellow",
    "connecting": "yellow",
    "degraded": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "restarting": "red",
    "backing_off": "red",
    "stopped": "red",
    "open": "red",
    "half_open": "yellow",
    "closed": "green",
}


def render_tree(place: Snapshot) -> RenderableType:
    """*place* and all below it, one line each."""
    drawn = Tree(_line(place), guide_style="dim")
    _grow(drawn, place)
    return drawn


def render_info(info: Info) -> RenderableType:
    """All that is known of one place."""
    place = info.place
    table = Table.grid(padding=(0, 2))
    rows: list[tuple[str, Fact]] = [
        ("path", place.path),
        ("name", place.name or "none"),
        ("kind", place.kind),
        ("life", place.life),
        ("for", span(place.age)),
        ("restarts", place.restarts),
        ("incarnations", place.generation),
        ("last exit", place.last_exit or "none"),
        ("mailbox", f"{place.waiting} of {place.capacity}"),
        ("handling", place.handling or "nothing"),
        ("background tasks", place.tasks),
        *place.facts.items(),
    ]
    for label, value in rows:
        table.add_row(f"[dim]{escape(label.replace('_', ' '))}[/]", _coloured(value))
    for letter in info.dead_letters:
        table.add_row(
            "[dim]dead letter[/]", f"{escape(letter.message)}, {span(letter.ago)} ago: {escape(letter.why)}"
        )
    return Group(table, render_tree(place)) if place.children else table


def span(seconds: float) -> str:
    """A duration in the two units that matter.

    >>> span(0.25), span(42.0), span(3725.0), span(200000.0)
    ('0.2 s', '42 s', '1 h 2 min', '2 d 7 h')
    """
    whole = int(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def printable(text: str) -> str:
    """*text* without what could act on a terminal: errors and names may come from a remote.

    >>> printable("a\\x1b[2J b")
    'a\\\\x1b[2J b'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def escape(text: str) -> str:
    """*text* as it stands, neither markup nor control characters."""
    return escape_markup(printable(text))


def _grow(branch: Tree, place: Snapshot) -> None:
    for child in place.children:
        _grow(branch.add(_line(child)), child)


def _line(place: Snapshot) -> str:
    words = [
        f"[bold]{escape(place.id)}[/]",
        f"[cyan]{escape(place.kind)}[/]",
        f"{_coloured(place.life)} [dim]{span(place.age)}[/]",
    ]
    if place.restarts:
        words.append(f"[yellow]restarts {place.restarts}[/]")
    if place.waiting:
        words.append(f"mail {place.waiting}/{place.capacity}")
    if place.handling:
        words.append(f"in {escape(place.handling)}")
    words += [f"[dim]{escape(label)}=[/]{_coloured(value)}" for label, value in place.facts.items()]
    return "  ".join(words)


def _coloured(value: Fact) -> str:
    text = escape(str(value))
    colour = COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text
