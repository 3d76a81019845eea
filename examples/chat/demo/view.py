"""What a person sees meanwhile: on a terminal the live tree, elsewhere a line for each thing that happens."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from rich.console import Console, Group
from rich.live import Live

from resprout import System
from resprout.actors.console import render_tree

FRAMES_PER_SECOND = 8


@asynccontextmanager
async def show_tree(runtime: System, console: Console) -> AsyncIterator[Callable[[str], None]]:
    """Show what *runtime* does while the block runs; yields a function that tells what is done to it."""
    began = trio.current_time()
    lines: deque[str] = deque(maxlen=10)

    def tell(text: str) -> None:
        lines.append(f"{trio.current_time() - began:5.1f} s  {text}")
        if not console.is_terminal:
            console.print(lines[-1], highlight=False)

    if not console.is_terminal:
        yield tell
        return
    with Live(console=console, auto_refresh=False) as live:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_draw, live, runtime, lines)
            yield tell
            nursery.cancel_scope.cancel(reason="the demo is over")


async def _draw(live: Live, runtime: System, lines: deque[str]) -> None:
    while True:
        live.update(Group(render_tree(runtime.snapshot()), *lines), refresh=True)
        await trio.sleep(1 / FRAMES_PER_SECOND)
