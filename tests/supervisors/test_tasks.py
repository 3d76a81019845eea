"""One-off work under a task supervisor: results, failures, cancellation, limits, shutdown."""

import gc

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    ActorExited,
    ActorStopped,
    Event,
    Name,
    ReplyError,
    Supervisor,
    System,
    TaskFailed,
    Tasks,
    TaskStopped,
    TaskSupervisor,
    TooManyChildren,
    open_runtime,
    supervisor,
    task_supervisor,
)
from tests.supervisors.players import Journal, life, player

NAME = Name(TaskSupervisor, "jobs")
JOBS = Tasks(NAME)


def tree(**options: object) -> object:
    return supervisor("app", task_supervisor("jobs", name=NAME, **options))  # type: ignore[arg-type] # test helper


def facts(runtime: System) -> dict[str, object]:
    return dict(runtime.snapshot().children[0].facts)


async def double(number: int) -> int:
    await trio.sleep(1)
    return 2 * number


async def fail(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def note(journal: Journal, what: str, seconds: float = 0.0) -> None:
    try:
        await trio.sleep(seconds)
        journal.append(what)
    except trio.Cancelled:
        journal.append(f"{what} cancelled")
        raise


async def test_a_task_gives_its_result_to_its_caller_and_is_gone(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()) as runtime:
        assert await JOBS.run(double, 21) == 42
        await wait_all_tasks_blocked()
        assert runtime.snapshot().children[0].children == ()
        assert facts(runtime) == {"running": 0, "done": 1, "failed": 0, "refused": 0}


async def test_a_task_that_runs_is_shown_in_the_tree(autojump_clock: MockClock) -> None:
    async with open_runtime(tree()) as runtime:
        assert JOBS.start_soon(double, 1) == "app/jobs/double-1"
        await wait_all_tasks_blocked()
        (shown,) = runtime.snapshot().children[0].children
        assert (shown.id, shown.life, shown.handling) == ("double-1", "running", "perform")
        assert facts(runtime)["running"] == 1


async def test_a_failure_is_raised_in_the_caller_alone(autojump_clock: MockClock) -> None:
    told: list[Event] = []
    journal: Journal = []
    async with open_runtime(tree()) as runtime:
        JOBS.start_soon(note, journal, "neighbour", 1)
        runtime.events.subscribe(told.append)
        with pytest.raises(TaskFailed, match=r"app/jobs/fail-2 failed: ValueError: bad image") as failed:
            await JOBS.run(fail, ValueError("bad image"))
        assert isinstance(failed.value.cause, ValueError)
        assert failed.value.__cause__ is failed.value.cause
        await trio.sleep(2)
        assert journal == ["neighbour"]
        assert facts(runtime) == {"running": 0, "done": 1, "failed": 1, "refused": 0}
        # Whoever waits for it knows; the log need not say it again.
        assert {event.log_level() for event in told if isinstance(event, ActorExited)} == {"debug"}


async def test_a_failure_nobody_waits_for_is_an_event_and_counted_and_harms_nobody() -> None:
    told: list[Event] = []
    async with open_runtime(tree()) as runtime:
        runtime.events.subscribe(told.append)
        for error in (ValueError("bad"), ReplyError("an answer to nobody")):
            JOBS.start_soon(fail, error)
        await wait_all_tasks_blocked()
        assert facts(runtime)["failed"] == 2
        exits = [event for event in told if isinstance(event, ActorExited)]
        assert sorted((event.actor, event.log_level()) for event in exits) == [
            ("app/jobs/fail-1", "error"),
            ("app/jobs/fail-2", "error"),
        ]
        assert life(runtime, "app/jobs") == "running"


async def test_a_reply_error_reaches_the_caller_as_it_is() -> None:
    async with open_runtime(tree()):
        with pytest.raises(ReplyError, match="no such user"):
            await JOBS.run(fail, ReplyError("no such user"))


async def test_whoever_is_cancelled_takes_the_task_along_and_waits_for_its_end(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    async with open_runtime(tree()) as runtime:
        with trio.move_on_after(1):
            await JOBS.run(note, journal, "long", 100)
        assert trio.current_time() < 50
        assert journal == ["long cancelled"]
        assert facts(runtime)["running"] == 0
        assert runtime.snapshot().children[0].children == ()


async def test_a_caller_cancelled_before_the_task_began_leaves_nothing_behind() -> None:
    journal: Journal = []
    async with open_runtime(tree()) as runtime:
        with trio.CancelScope() as scope:
            scope.cancel()
            await JOBS.run(note, journal, "never")
        await wait_all_tasks_blocked()
        assert journal == []
        assert runtime.snapshot().children[0].children == ()


async def test_no_more_than_max_children_run_and_one_more_is_refused(autojump_clock: MockClock) -> None:
    async with open_runtime(tree(max_children=2)) as runtime:
        JOBS.start_soon(double, 1)
        JOBS.start_soon(double, 2)
        for attempt in (JOBS.start_soon, JOBS.run):
            with pytest.raises(TooManyChildren, match="app/jobs: it has its 2 tasks") as full:
                if (waits := attempt(double, 3)) and not isinstance(waits, str):
                    await waits
            assert full.value.limit == 2
        assert facts(runtime)["refused"] == 2
        await trio.sleep(2)
        assert await JOBS.run(double, 4) == 8


async def test_a_stop_lets_all_tasks_finish_at_once_within_one_shutdown_time(
    autojump_clock: MockClock,
) -> None:
    journal: Journal = []
    async with trio.open_nursery() as nursery:
        async with open_runtime(tree()):
            for seconds in (1, 2, 3, 50, 60):
                JOBS.start_soon(note, journal, str(seconds), seconds)

            async def wait_for_it() -> None:
                with pytest.raises(TaskStopped, match="before it had finished: killed"):
                    await JOBS.run(note, journal, "awaited", 70)

            nursery.start_soon(wait_for_it)
            await wait_all_tasks_blocked()
            before = trio.current_time()
        assert trio.current_time() - before == pytest.approx(5)
    assert journal[:3] == ["1", "2", "3"]
    assert sorted(journal[3:]) == ["50 cancelled", "60 cancelled", "awaited cancelled"]


async def test_work_handed_to_one_that_has_ended_is_refused_and_does_not_start() -> None:
    journal: Journal = []
    async with open_runtime(supervisor("app", player("a", []), name=Name(Supervisor, "root"))) as runtime:
        root = Name(Supervisor, "root")
        await root.call(Supervisor.start_child, task_supervisor("jobs", name=NAME))
        jobs = Tasks(runtime.ref("app/jobs"))  # type: ignore[arg-type] # found by path, so untyped
        await root.call(Supervisor.terminate_child, "jobs")
        with pytest.raises(ActorStopped):
            await jobs.run(note, journal, "x")
        with pytest.raises(ActorStopped):
            jobs.start_soon(note, journal, "x")
        with pytest.raises(LookupError):
            JOBS.start_soon(note, journal, "x")
    assert journal == []


async def test_what_is_no_async_function_is_refused_with_the_next_step() -> None:
    def blocking(number: int) -> int:
        return number

    async with open_runtime(tree()):
        with pytest.raises(TypeError, match="pass the function and then its arguments"):
            await JOBS.run(7)  # type: ignore[arg-type] # wrong on purpose
        with pytest.raises(TaskFailed, match=r"no async function; use trio\.to_thread"):
            await JOBS.run(blocking, 7)  # type: ignore[arg-type] # wrong on purpose


async def test_an_operator_can_end_one_task_by_its_id(autojump_clock: MockClock) -> None:
    journal: Journal = []
    async with open_runtime(tree(task_shutdown=1.0)):
        id = JOBS.start_soon(note, journal, "long", 100).rpartition("/")[2]
        await wait_all_tasks_blocked()
        await NAME.call(TaskSupervisor.terminate_child, id)
        assert journal == ["long cancelled"]


async def test_tasks_that_are_over_leave_no_memory_behind() -> None:
    class Payload:
        """Large."""

    async def take(payload: Payload) -> None:
        await trio.lowlevel.checkpoint()

    async with open_runtime(tree()):
        for _ in range(20):
            await JOBS.run(take, Payload())
            JOBS.start_soon(take, Payload())
        await wait_all_tasks_blocked()
        gc.collect()
        assert sum(type(thing) is Payload for thing in gc.get_objects()) <= 1
