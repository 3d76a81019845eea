"""What remotes say cannot act on the operator's terminal."""

import io

from rich.console import Console

from resprout.actors.console.render import printable, render_info, render_tree
from resprout.actors.console.verbs import Info, Letter
from resprout.runtime.snapshot import Snapshot

HOSTILE = "gone\x1b]0;owned\x07\x1b[2J\r\nFAKE running \x9b31m \u202eevil [red]not markup[/]"


def test_what_a_remote_says_cannot_act_on_the_terminal() -> None:
    place = Snapshot(
        id=HOSTILE,
        path=HOSTILE,
        name=HOSTILE,
        kind="RedisConnection",
        life="running",
        generation=2,
        restarts=1,
        age=1.0,
        waiting=0,
        capacity=10,
        handling=HOSTILE,
        tasks=0,
        last_exit=HOSTILE,
        facts={HOSTILE: HOSTILE},
        children=(),
    )
    console = Console(file=io.StringIO(), width=500, highlight=False)
    console.print(render_tree(place))
    console.print(render_info(Info(place, (Letter(HOSTILE, HOSTILE, 1.0),))))
    shown = console.file.getvalue()
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "\\x1b[2J" in shown
    assert "[red]not markup[/]" in shown


def test_what_people_wrote_stays_as_it_is() -> None:
    assert printable("two\nlines, as Götz wrote them 日本") == "two\nlines, as Götz wrote them 日本"
