"""A tree in a process of its own, as `run` runs it."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

PRELUDE = """
    import sys, trio
    from functools import partial
    from resprout import *

    def say(*words): print(*words, flush=True)

    class Worker(Actor):
        async def on_start(self): say("+" + self.context.path)
        async def on_stop(self, reason): say("-" + self.context.path)
        async def crash(self): raise ValueError("boom")
        async def leave(self, code): raise SystemExit(code)

    class Ready(Actor):
        async def on_start(self): say("ready")

    class Stubborn(Worker):
        async def on_stop(self, reason):
            say("stopping")
            await trio.sleep(60)
"""
PATIENCE = 20  # Seconds a process may take on a busy machine; none of these tests waits for it.


@contextmanager
def process(script: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs *script* after the prelude; killed at the end if it is still there."""
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(running: subprocess.Popen[str], word: str) -> list[str]:
    """The lines up to *word*."""
    lines: list[str] = []
    assert running.stdout is not None
    for line in running.stdout:
        lines.append(line.strip())
        if lines[-1] == word:
            break
    return lines
