"""A process whose tree cannot end: it ends all the same, in time, with the right code, and says who was alive."""

import signal
import textwrap
import time

import pytest

from tests.runtime.process import PATIENCE, process, read_until

HOLDS = {
    "shielded": """
        with trio.CancelScope(shield=True): await trio.sleep_forever()
    """,
    "swallowed": """
        while True:
            try: await trio.sleep_forever()
            except trio.Cancelled: await trio.lowlevel.cancel_shielded_checkpoint()
    """,
    "asleep": "time.sleep(60)",
    "spinning": "while True: pass",
    # It begins again after each signal, with the GIL released, as name resolution does.
    "in C": "read(pipe, buffer, 1)",
}

HOLDING = """
    import ctypes, os, signal, time
    read, buffer, pipe = ctypes.CDLL(None).read, ctypes.create_string_buffer(1), os.pipe()[0]
    class Wall(Worker):
        async def on_start(self):
            for number in (signal.SIGINT, signal.SIGTERM): signal.siginterrupt(number, False)
        async def on_stop(self, reason):
            say("stopping")
            await self.hold()
        async def hold(self):
            await trio.lowlevel.checkpoint()
"""


def holding(hold: str, tree: str) -> str:
    """A script that runs *tree*, whose `Wall` does not stop because of *hold*."""
    return HOLDING + textwrap.indent(textwrap.dedent(HOLDS[hold]), " " * 12) + tree


SHORT = """
    from resprout.runtime import lastresort
    lastresort.FORCED_WITHIN = lastresort.ALLOWANCE = 1.0
"""
WALL_AND_OTHERS = """
    run(supervisor("app", child("a", Worker), child("w", Wall, shutdown=INFINITY), child("r", Ready)))
"""


def told_last(err: str) -> str:
    """The line of the last resort. The watchdog, in a thread of its own, may just be writing as well."""
    (line,) = [line for line in err.splitlines() if "resprout: ended by force" in line]
    return line[line.index("resprout: ended by force") :]


@pytest.mark.parametrize("hold", HOLDS)
def test_a_second_signal_ends_the_process_within_five_seconds_whatever_holds_it_up(hold: str) -> None:
    with process(("" if hold == "shielded" else SHORT) + holding(hold, WALL_AND_OTHERS)) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGTERM)
        read_until(running, "stopping")
        time.sleep(0.2)  # So that it stands where it will stay.
        before = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
        took = time.monotonic() - before
    assert running.returncode == 130, err
    assert took < 5
    last = told_last(err)
    assert last.startswith("resprout: ended by force with exit code 130, because a second signal came")
    assert "app/w " in last
    assert "in hold" in last or "in on_stop" in last


ORDERED = """
    run(supervisor("app", child("w", Wall, shutdown=0.5), child("r", Ready)))
"""
GIVES_UP = """
    class Fuse(Actor):
        async def on_start(self): self.context.after(0.1, Fuse.blow)
        async def blow(self): raise ValueError("boom")
    run(supervisor("app", child("w", Wall, shutdown=0.5), child("f", Fuse), intensity=0))
"""


def test_a_tree_that_gave_up_over_a_stuck_actor_exits_with_1_once_its_shutdown_time_is_over() -> None:
    with process(SHORT + holding("shielded", GIVES_UP)) as running:
        read_until(running, "stopping")
        before = time.monotonic()
        _, err = running.communicate(timeout=PATIENCE)
        took = time.monotonic() - before
    assert running.returncode == 1
    assert took > 1.2
    last = told_last(err)
    assert last.startswith(
        "resprout: ended by force with exit code 1, because the stop took longer than it may"
    )
    assert "still alive: app/w at " in last


def test_an_ordered_stop_that_never_ends_exits_with_130_after_the_same_time() -> None:
    with process(SHORT + holding("asleep", ORDERED)) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "app/w keeps the loop from turning at " in told_last(err)


def test_as_long_as_actors_end_one_after_the_other_a_late_stop_is_not_cut_short() -> None:
    with process(
        SHORT
        + """
    class Late(Worker):
        async def on_stop(self, reason):
            with trio.CancelScope(shield=True): await trio.sleep(0.7)
            say("-" + self.context.path)
    run(supervisor("app", *(child(str(n), Late, shutdown=0.01) for n in range(4)), child("r", Ready)))
    """
    ) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=PATIENCE)
    assert out.split() == ["-app/3", "-app/2", "-app/1", "-app/0"]
    assert running.returncode == 0
