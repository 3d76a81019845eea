"""`run` as the main entrypoint of a real process: signals, orderly drain, exit codes."""

import signal
import time

import pytest

from tests.runtime.process import PATIENCE, process, read_until

TWO_WORKERS = """
    run(supervisor("app", child("a", Worker), child("b", Worker), child("ready", Ready)))
    say("after run")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_in_reverse_order_and_the_exit_code_is_0(number: signal.Signals) -> None:
    with process(TWO_WORKERS) as running:
        read_until(running, "ready")
        running.send_signal(number)
        out, err = running.communicate(timeout=PATIENCE)
    assert out.split() == ["-app/b", "-app/a", "after", "run"]
    assert running.returncode == 0
    assert "Traceback" not in err


def test_a_signal_during_the_start_stops_what_had_started() -> None:
    with process(
        """
        class Slow(Actor):
            async def on_start(self):
                say("ready")
                await trio.sleep_forever()
        run(supervisor("app", child("a", Worker), child("slow", Slow, start_timeout=INFINITY), child("c", Worker)))
        """
    ) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=PATIENCE)
    assert out.split() == ["-app/a"]
    assert running.returncode == 0


PATIENT = """
    class Patient(Worker):
        async def on_stop(self, reason):
            say("stopping")
            await trio.sleep(0.5)
            say("stopped")
    run(supervisor("app", child("p", Patient), child("r", Ready)))
"""


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGHUP, signal.SIGHUP), (signal.SIGTERM, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM)],
)
def test_a_hangup_asks_and_never_forces(numbers: tuple[signal.Signals, signal.Signals]) -> None:
    with process(PATIENT) as running:
        read_until(running, "ready")
        running.send_signal(numbers[0])
        read_until(running, "stopping")
        running.send_signal(numbers[1])
        out, _ = running.communicate(timeout=PATIENCE)
    assert out.split() == ["stopped"]
    assert running.returncode == 0


def test_a_hangup_that_is_ignored_as_under_nohup_stays_ignored() -> None:
    with process("    import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)" + PATIENT) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        out, _ = running.communicate(timeout=PATIENCE)
    assert out.split() == ["stopping", "stopped"]
    assert running.returncode == 0


def test_a_terminal_that_is_gone_with_its_hangup_does_not_disturb_the_stop() -> None:
    with process(PATIENT) as running:
        read_until(running, "ready")
        assert running.stderr is not None
        running.stderr.close()
        running.send_signal(signal.SIGHUP)
        assert read_until(running, "stopped") == ["stopping", "stopped"]
        running.wait(timeout=PATIENCE)
    assert running.returncode == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_ctrl_c_ends_it_promptly_with_130(first: signal.Signals) -> None:
    with process(
        """run(supervisor("app", child("s", Stubborn, shutdown=INFINITY), child("r", Ready)))"""
    ) as running:
        read_until(running, "ready")
        running.send_signal(first)
        read_until(running, "stopping")
        before = time.monotonic()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE)
    assert time.monotonic() - before < 5
    assert running.returncode == 130


def test_a_tree_that_gave_up_exits_with_1_and_says_why() -> None:
    with process(
        """
        W = Name(Worker, "w")
        class Breaker(Actor):
            async def on_start(self): self.context.every(0.001, Breaker.hit)
            async def hit(self):
                try: W.cast(Worker.crash)
                except (MailboxFull, NotFoundError): pass
        run(supervisor("app", child("w", Worker, name=W), child("b", Breaker)))
        """
    ) as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert "LimitReached" in err
    assert "boom" in err
    assert out.split()[-1] == "-app/w"


def test_a_tree_that_did_not_start_exits_with_1_and_one_line() -> None:
    with process(
        """
        class Broken(Actor):
            async def on_start(self): raise OSError("no licence")
        run(supervisor("app", child("a", Worker), child("broken", Broken)))
        """
    ) as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 1
    assert out.split() == ["+app/a", "-app/a"]
    assert "resprout: the tree did not start" in err
    assert "no licence" in err


@pytest.mark.parametrize(
    ("tree", "fix"),
    [
        ("supervisor('app', child('a', Worker), child('a', Worker))", "app/a: two children have the id 'a'"),
        ("supervisor('app', intensity=-1)", "app: intensity must be"),
        ("Worker", "wrap it in supervisor(…) or child(…)"),
    ],
)
def test_a_bad_configuration_exits_with_78_before_anything_starts(tree: str, fix: str) -> None:
    with process(f"    run({tree})") as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 78
    assert out == ""
    assert "resprout: bad configuration: " in err
    assert fix in err
    assert "Traceback" not in err


@pytest.mark.parametrize("code", [0, 3])
def test_the_code_of_a_system_exit_inside_an_actor_comes_out_after_an_orderly_stop(code: int) -> None:
    with process(
        f"""
        class Leaver(Actor):
            async def on_start(self): self.context.after(0, Leaver.go)
            async def go(self):
                async with trio.open_nursery() as nursery: nursery.start_soon(self._go)
            async def _go(self): raise SystemExit({code})
        run(supervisor("app", child("a", Worker), child("l", Leaver)))
        """
    ) as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == code
    assert out.split() == ["+app/a", "-app/a"]
    assert "Traceback" not in err.partition("ActorCrashed")[0]


def test_a_root_that_finished_its_work_exits_with_0() -> None:
    with process(
        """
        class Job(Worker):
            async def on_start(self): self.context.after(0, Job.work)
            async def work(self): self.context.stop()
        run(supervisor("app", child("job", Job, restart=TRANSIENT, significant=True),
                       auto_shutdown=AutoShutdown.ANY_SIGNIFICANT))
        run(child("job", Job))
        """
    ) as running:
        out, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0
    assert out.split() == ["-app/job", "-job"]


def test_an_actor_that_blocks_its_stop_by_force_is_named_and_awaited() -> None:
    with process(
        """
        class Wall(Actor):
            async def on_stop(self, reason):
                say("stopping")
                with trio.CancelScope(shield=True): await trio.sleep(2.5)
        run(supervisor("app", child("w", Wall), child("r", Ready)))
        """
    ) as running:
        read_until(running, "ready")
        running.send_signal(signal.SIGINT)
        read_until(running, "stopping")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130
    assert "ActorStuck" in err
    assert "on_stop" in err
