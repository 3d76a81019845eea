"""What is told of the stop of a tree: who held it up, where, since when. And nothing if all went well."""

from functools import partial

import attrs
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from resprout import (
    BRUTAL_KILL,
    INFINITY,
    Actor,
    ChildSpec,
    Event,
    ExitReason,
    Name,
    SlowStop,
    StopReport,
    System,
    child,
    log_events,
    open_runtime,
    supervisor,
)


@attrs.define
class Sleeper(Actor):
    """Takes its time, in `on_stop` or in a handler."""

    seconds: float = 0.0

    async def on_stop(self, reason: ExitReason) -> None:
        await trio.sleep(self.seconds)

    async def work(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def finish(self) -> None:
        self.context.stop()


SLOW = Name(Sleeper, "slow")


def sleeper(id: str, seconds: float = 0.0, **options: object) -> ChildSpec:
    return child(id, partial(Sleeper, seconds), **options)  # type: ignore[arg-type] # options of a child


async def stopped(*children: ChildSpec, work: float = 0.0) -> tuple[StopReport, list[StopReport]]:
    """The report of the stop of *children*, and what events said of it; *work* keeps one of them busy."""
    events: list[Event] = []
    async with open_runtime(supervisor("app", *children)) as runtime:
        runtime.events.subscribe(events.append)
        assert runtime.stop_report is None
        if work:
            SLOW.cast(Sleeper.work, work)
            await wait_all_tasks_blocked()
    assert runtime.stop_report is not None
    return runtime.stop_report, [event.report for event in events if isinstance(event, SlowStop)]


async def test_a_stop_in_order_is_no_news(autojump_clock: MockClock) -> None:
    report, told = await stopped(sleeper("a", 3), sleeper("b"), sleeper("c", 9, shutdown=BRUTAL_KILL))
    assert (report.over, report.seconds, report.killed, report.stragglers) == (True, 3, 0, ())
    assert told == []


async def test_who_had_to_be_killed_is_named_with_place_and_time(autojump_clock: MockClock) -> None:
    report, told = await stopped(sleeper("a", 3), sleeper("slow", 60, shutdown=4), sleeper("b", 1))
    assert told == [report]
    assert (report.over, report.seconds, report.killed) == (True, 8, 1)
    [slow] = report.stragglers
    assert (slow.actor, slow.since, slow.seconds, slow.killed) == ("app/slow", 1, 4, True)
    assert slow.place.startswith(__file__)
    assert slow.place.endswith("in on_stop")


async def test_a_message_in_work_is_a_place_too(autojump_clock: MockClock) -> None:
    report, _ = await stopped(sleeper("slow", name=SLOW), work=60)
    assert [(each.actor, each.killed) for each in report.stragglers] == [("app/slow", True)]
    assert report.stragglers[0].place.endswith("in work")


async def test_under_a_supervisor_whose_time_is_over_those_who_were_told_to_stop_are_named_and_all_are_counted(
    autojump_clock: MockClock,
) -> None:
    deep = supervisor("deep", sleeper("never asked"), sleeper("slow", 60, shutdown=30), shutdown=2)
    report, _ = await stopped(deep)
    assert [(each.actor, each.seconds) for each in report.stragglers] == [("app/deep/slow", 2)]
    assert report.killed == 3  # Both, and their supervisor.


async def test_one_that_ends_by_itself_and_is_cut_off_by_its_own_time_is_named(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime(sleeper("slow", 60, name=SLOW)) as runtime:
        await SLOW.call(Sleeper.finish)
        await runtime.wait()
        report = runtime.stop_report
    assert report is not None
    assert (report.began, report.seconds, report.killed) == (0, 5, 1)
    assert [each.actor for each in report.stragglers] == ["slow"]


async def test_a_long_stop_is_told_while_it_lasts_and_at_its_end(autojump_clock: MockClock) -> None:
    report, told = await stopped(sleeper("a"), sleeper("slow", 25, shutdown=INFINITY), sleeper("b"))
    assert [(each.over, each.seconds) for each in told] == [(False, 10), (True, 25)]
    assert told[-1] == report
    for each in told:
        [slow] = each.stragglers
        assert (slow.actor, slow.since, slow.seconds, slow.killed) == ("app/slow", 0, 10, False)


async def test_a_tree_that_gave_up_tells_of_its_stop_too(autojump_clock: MockClock) -> None:
    class Fuse(Actor):
        async def on_start(self) -> None:
            self.context.after(1, Fuse.blow)

        async def blow(self) -> None:
            raise ValueError("boom")

    async with open_runtime(supervisor("app", sleeper("slow", 60), child("f", Fuse), intensity=0)) as runtime:
        await runtime.wait()
        report = runtime.stop_report
    assert report is not None
    assert (report.began, report.seconds, report.killed) == (1, 5, 1)


async def test_a_restart_that_kills_somebody_is_no_stop_of_the_tree(autojump_clock: MockClock) -> None:
    async def restart(runtime: System) -> None:
        await runtime.ref("app/slow")._find().terminate()
        await runtime.ref("app/slow")._find().start()

    events: list[Event] = []
    async with open_runtime(supervisor("app", sleeper("slow", 60, shutdown=1))) as runtime:
        runtime.events.subscribe(events.append)
        await restart(runtime)
        assert not any(isinstance(event, SlowStop) for event in events)


async def test_it_is_a_line_in_the_log(autojump_clock: MockClock) -> None:
    with structlog.testing.capture_logs() as lines:
        async with open_runtime(supervisor("app", sleeper("slow", 60))) as runtime:
            log_events(runtime.events)
    [line] = [line for line in lines if line["event"] == "SlowStop"]
    assert (line["actor"], line["log_level"]) == ("app", "warning")
    assert line["stack"].startswith("the stop took 5 s; actors killed: 1\napp/slow: killed after 5 s at ")


async def test_a_report_names_the_first_hundred_and_counts_the_rest(autojump_clock: MockClock) -> None:
    report, _ = await stopped(*(sleeper(str(number), 60, shutdown=0.01) for number in range(150)))
    assert (len(report.stragglers), report.killed) == (100, 150)
