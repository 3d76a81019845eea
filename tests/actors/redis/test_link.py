"""The pipelined link against a scripted server, on virtual time."""

import math
import socket
from functools import partial

import pytest
import trio
import trio.testing
from redis.exceptions import AuthenticationError, BusyLoadingError, ReadOnlyError, ResponseError

from resprout.actors.redis.line import Line, LinkLimits
from resprout.actors.redis.link import RedisLink
from resprout.actors.redis.refusal import ClusterRefused
from resprout.actors.redis.resp import pack
from resprout.actors.redis.slot import NoReply, ProtocolViolation, ReplyOverdue, ServerClosed
from resprout.actors.redis.wire import SocketWire
from resprout.runtime.errors import Phase, Sent

GET = pack(("GET", "k"))


class Asked:
    """A call in a task of its own, and how it ended."""

    def __init__(
        self, link: RedisLink, nursery: trio.Nursery, data: bytes = GET, timeout: float = 5.0
    ) -> None:
        self.scope = trio.CancelScope()
        self.reply: object = self
        self.error: Exception | None = None
        self.ended_at = math.nan
        nursery.start_soon(self._run, link, data, timeout)

    async def _run(self, link: RedisLink, data: bytes, timeout: float) -> None:
        with self.scope:
            try:
                self.reply = await link.call(data, timeout)
            except Exception as error:  # noqa: BLE001 - the tests look at it.
                self.error = error
        self.ended_at = trio.current_time()

    @property
    def no_reply(self) -> NoReply:
        assert isinstance(self.error, NoReply), self.error
        return self.error


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_replies_reach_their_callers_in_order(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        calls = []
        for _ in range(3):
            calls.append(Asked(link, nursery))
            await settled()
        await server.says(b"$1\r\na\r\n$1\r\nb\r\n_\r\n")
        assert [call.reply for call in calls] == [b"a", b"b", None]


async def test_commands_of_many_tasks_leave_in_one_write(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        calls = [Asked(link, nursery) for _ in range(100)]
        await settled()
        assert await server.reads() == GET * 100
        await server.says(b":1\r\n" * 100)
        assert {call.reply for call in calls} == {1}


async def test_a_cancelled_command_keeps_its_slot_and_nobody_sees_its_reply(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        first, second = Asked(link, nursery), None
        await settled()
        second = Asked(link, nursery)
        await settled()
        first.scope.cancel()
        await settled()
        await server.says(b"+secret of the first\r\n+for the second\r\n")
        assert first.reply is first
        assert second.reply == b"for the second"


async def test_who_is_cancelled_before_the_call_sends_nothing(linked) -> None:
    async with linked() as (link, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.call(GET, 5.0)
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.call_many([GET], 5.0, atomic=False)
        with trio.move_on_after(0.05) as nothing_came:
            await server.reads()
        assert nothing_came.cancelled_caught


async def test_a_reply_in_pieces_is_put_together(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        for byte in b"*2\r\n$3\r\nfoo\r\n:7\r\n":
            await server.says(bytes([byte]))
        assert call.reply == [b"foo", 7]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"-ERR no\r\n", ResponseError),
        (b"-WRONGTYPE no\r\n", ResponseError),
        (b"-NOAUTH Authentication required.\r\n", AuthenticationError),
        (b"-MOVED nonsense\r\n", ClusterRefused),
    ],
)
async def test_every_error_reply_raises(linked, said: bytes, expected: type[Exception]) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        await server.says(said)
        assert isinstance(call.error, expected)


async def test_errors_inside_an_array_stay_values(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        await server.says(b"*2\r\n:1\r\n-ERR no\r\n")
        assert isinstance(call.reply, list)
        assert call.reply[0] == 1
        assert isinstance(call.reply[1], ResponseError)


async def test_push_messages_are_not_taken_for_replies(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        await server.says(b">2\r\n+hello\r\n+idle\r\n")
        call = Asked(link, nursery)
        await settled()
        await server.says(b">2\r\n+message\r\n+foreign\r\n+mine\r\n")
        assert call.reply == b"mine"
        assert link.pushes == 2


@pytest.mark.parametrize("said", [b"+stray\r\n", b"-ERR max number of clients reached\r\n", b"garbage\r\n"])
async def test_a_reply_nobody_asked_for_closes_the_link(linked, said: bytes) -> None:
    async with linked() as (link, server):
        await server.says(said)
        assert isinstance(await link.wait_lost(), ProtocolViolation)
        with pytest.raises(NoReply) as caught:
            await link.call(GET, 5.0)
        assert caught.value.sent is Sent.NO


async def test_a_stray_reply_never_answers_a_command_that_was_not_written_yet(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        await server.stream.send_all(b"+stray\r\n")  # Both happen before the writer's turn.
        call = Asked(link, nursery)
        await settled()
        assert call.reply is call
        assert call.no_reply.sent is Sent.NO


async def test_a_second_reply_to_one_command_closes_the_link(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        await server.says(b"+one\r\n+two\r\n")
        assert call.reply == b"one"
        assert isinstance(await link.wait_lost(), ProtocolViolation)


async def test_an_unhashable_key_from_the_server_closes_the_link_and_crashes_nothing(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        await server.says(b"%1\r\n*1\r\n:1\r\n:2\r\n")
        assert call.no_reply.sent is Sent.YES
        assert isinstance(await link.wait_lost(), ProtocolViolation)


async def test_a_reply_beyond_the_limit_closes_the_link(linked) -> None:
    async with linked(LinkLimits(max_reply_bytes=1000)) as (link, server), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        await server.says(b"$999999999\r\n" + b"x" * 2000)
        assert isinstance(call.no_reply.why, ProtocolViolation)


async def test_when_the_server_closes_every_waiting_caller_hears_it_at_once(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        calls = [Asked(link, nursery) for _ in range(3)]
        await settled()
        await server.stream.aclose()
        await settled()
        assert [call.no_reply.sent for call in calls] == [Sent.YES] * 3
        assert isinstance(await link.wait_lost(), ServerClosed)


async def test_an_overdue_reply_closes_the_link_at_its_deadline(linked, autojump_clock) -> None:
    async with linked() as (link, _), trio.open_nursery() as nursery:
        began = trio.current_time()
        calls = [Asked(link, nursery) for _ in range(2)]
        why = await link.wait_lost()
        assert isinstance(why, ReplyOverdue)
        assert trio.current_time() - began == pytest.approx(5.0)
        await settled()
        assert [call.no_reply.sent for call in calls] == [Sent.YES] * 2


async def test_the_reply_of_a_cancelled_command_is_watched_too(linked, autojump_clock) -> None:
    async with linked() as (link, _):
        began = trio.current_time()
        with trio.move_on_after(1):
            await link.call(GET, 5.0)
        await link.wait_lost()
        assert trio.current_time() - began == pytest.approx(5.0)


async def test_an_impatient_caller_goes_and_the_link_stays(linked, autojump_clock) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        hasty, patient = Asked(link, nursery, timeout=0.2), None
        await settled()
        patient = Asked(link, nursery)
        await trio.sleep(1)
        assert hasty.no_reply.expired
        assert hasty.no_reply.sent is Sent.YES
        assert hasty.no_reply.phase is Phase.READ
        assert hasty.ended_at == pytest.approx(0.2, abs=0.02)
        await server.says(b"+late\r\n+fine\r\n")
        assert patient.reply == b"fine"


async def test_a_patient_caller_keeps_the_link_and_others_still_go_in_time(linked, autojump_clock) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        slow = Asked(link, nursery, timeout=60.0)
        await settled()
        other = Asked(link, nursery)
        await trio.sleep(30)
        assert other.ended_at == pytest.approx(5.0, abs=0.02)
        await server.says(b"+slow\r\n+late\r\n")
        assert slow.reply == b"slow"


async def test_bytes_that_still_come_are_a_sign_of_life(linked, autojump_clock) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        Asked(link, nursery)
        await settled()
        await server.says(b"$1000\r\n")
        for _ in range(10):
            await trio.sleep(1)
            await server.says(b"x")
        with trio.move_on_after(0.5):
            await link.wait_lost()
            raise AssertionError("the link was closed in the middle of a long reply")


async def test_an_idle_link_is_never_overdue(linked, autojump_clock) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        first = Asked(link, nursery)
        await settled()
        await server.says(b":1\r\n")
        await trio.sleep(3600)
        second = Asked(link, nursery)
        await trio.sleep(4.9)
        await server.says(b":2\r\n")
        assert (first.reply, second.reply) == (1, 2)


async def test_callers_beyond_the_limit_wait_and_are_served_in_turn(linked) -> None:
    async with linked(LinkLimits(max_in_flight=2)) as (link, server), trio.open_nursery() as nursery:
        calls = []
        for number in range(5):
            calls.append(Asked(link, nursery, pack(("ECHO", number))))
            await settled()
        assert await server.reads() == pack(("ECHO", 0)) + pack(("ECHO", 1))
        calls[3].scope.cancel()
        await settled()
        await server.says(b":0\r\n:1\r\n")
        assert await server.reads() == pack(("ECHO", 2)) + pack(("ECHO", 4)), (
            "the cancelled one was never sent"
        )
        await server.says(b":2\r\n:4\r\n")
        assert [call.reply for call in calls if call is not calls[3]] == [0, 1, 2, 4]


async def test_callers_wait_while_too_many_bytes_are_unsent(linked) -> None:
    big = pack(("SET", "k", b"x" * 1000))
    async with linked(LinkLimits(max_unsent_bytes=1000)) as (link, server), trio.open_nursery() as nursery:
        calls = [Asked(link, nursery, big) for _ in range(3)]
        await settled()
        read = b""
        while len(read) < 3 * len(big):
            read += await server.reads()
            await settled()
        await server.says(b"+OK\r\n" * 3)
        assert [call.reply for call in calls] == [b"OK"] * 3


async def test_who_waits_for_room_in_vain_was_not_sent(linked, autojump_clock) -> None:
    async with linked(LinkLimits(max_in_flight=1)) as (link, _), trio.open_nursery() as nursery:
        Asked(link, nursery, timeout=20.0)
        await settled()
        waiting = Asked(link, nursery)
        await trio.sleep(6)
        assert waiting.no_reply.sent is Sent.NO
        assert waiting.no_reply.phase is Phase.QUEUE
        assert waiting.no_reply.expired


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", ReadOnlyError),
        (b"-LOADING Redis is loading the dataset in memory\r\n", BusyLoadingError),
    ],
)
async def test_a_failover_error_expires_the_link_after_the_replies_under_way(
    linked, said: bytes, expected: type[Exception]
) -> None:
    limits = LinkLimits(renew_after=0.0)
    async with linked(limits) as (link, server), trio.open_nursery() as nursery:
        first = Asked(link, nursery)
        await settled()
        second = Asked(link, nursery)
        await settled()
        await server.says(said)
        assert isinstance(first.error, expected)
        assert isinstance(await link.wait_lost(), expected)
        refused = Asked(link, nursery)
        await settled()
        assert refused.no_reply.sent is Sent.NO
        await server.says(b"+still mine\r\n")
        assert second.reply == b"still mine"
        await link.aclose()


async def test_closing_gives_replies_under_way_two_seconds(linked, autojump_clock) -> None:
    async with linked() as (link, _), trio.open_nursery() as nursery:
        began = trio.current_time()
        call = Asked(link, nursery)
        await settled()
        await link.aclose()
        assert trio.current_time() - began == pytest.approx(2.0)
        assert call.no_reply.sent is Sent.YES
        await link.aclose()


async def test_closing_under_cancellation_closes_at_once(linked, autojump_clock) -> None:
    async with linked() as (link, _), trio.open_nursery() as nursery:
        call = Asked(link, nursery)
        await settled()
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.aclose()
        await settled()
        assert call.no_reply.sent is Sent.YES


async def test_many_commands_stay_together_and_their_errors_are_values(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        replies: list[object] = []

        async def together() -> None:
            replies.extend(await link.call_many([pack(("MULTI",)), GET, pack(("EXEC",))], 5.0, atomic=True))

        nursery.start_soon(together)
        other = Asked(link, nursery)
        await settled()
        written = await server.reads()
        assert pack(("MULTI",)) + GET + pack(("EXEC",)) in written
        ours, foreign = b"+OK\r\n+QUEUED\r\n-EXECABORT no\r\n", b"+other\r\n"
        await server.says(foreign + ours if written.startswith(GET) else ours + foreign)
        assert replies[:2] == [b"OK", b"QUEUED"]
        assert isinstance(replies[2], ResponseError)
        assert other.reply == b"other"


async def test_many_commands_that_wait_for_room_in_vain_were_not_sent(linked, autojump_clock) -> None:
    async with linked(LinkLimits(max_in_flight=1)) as (link, _), trio.open_nursery() as nursery:
        Asked(link, nursery, timeout=20.0)
        await settled()
        with pytest.raises(NoReply) as caught:
            await link.call_many([GET, GET], 1.0, atomic=False)
        assert caught.value.sent is Sent.NO
        nursery.cancel_scope.cancel()


async def test_the_probe_accepts_only_its_own_word(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        nursery.start_soon(link.probe)
        await settled()
        word = (await server.reads()).split(b"\r\n")[4]
        await server.says(b"$16\r\n" + word + b"\r\n")
    async with linked() as (link, server), trio.open_nursery() as nursery:

        async def fails() -> None:
            with pytest.raises(ProtocolViolation):
                await link.probe()

        nursery.start_soon(fails)
        await settled()
        await server.says(b"$16\r\n0123456789abcdef\r\n")
        assert isinstance(await link.wait_lost(), ProtocolViolation)


async def test_wait_idle_returns_when_nothing_is_in_flight(linked) -> None:
    async with linked() as (link, server), trio.open_nursery() as nursery:
        await link.wait_idle()
        Asked(link, nursery)
        await settled()
        with trio.move_on_after(0.01) as too_soon:
            await link.wait_idle()
        assert too_soon.cancelled_caught
        nursery.start_soon(server.says, b":1\r\n")
        await link.wait_idle()


async def test_ctrl_c_cannot_come_between_a_slot_and_its_command(
    linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected: list[bool] = []

    def note(method: str) -> None:
        original = getattr(Line, method)

        def noted(*args: object) -> object:
            protected.append(trio.lowlevel.currently_ki_protected())
            return original(*args)

        monkeypatch.setattr(Line, method, noted)

    for method in ("add", "add_many", "begin_batch", "end_batch", "answerable", "fail"):
        note(method)
    async with linked() as (link, server), trio.open_nursery() as nursery:
        Asked(link, nursery)
        nursery.start_soon(partial(link.call_many, [GET, GET], 5.0, atomic=False))
        await settled()
        await server.says(b":1\r\n" * 3)
        link.abort(ServerClosed())
    assert len(protected) >= 6
    assert all(protected)
    assert not trio.lowlevel.currently_ki_protected()


async def test_a_broken_socket_under_a_crowd_fails_each_call_once() -> None:
    near, far = socket.socketpair()
    link = RedisLink(SocketWire(near))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await settled()
        far.close()
        near.shutdown(socket.SHUT_WR)
        calls = [Asked(link, nursery) for _ in range(200)]
        await settled()
        assert {call.no_reply.sent for call in calls} == {Sent.NO}


async def test_once_the_link_has_ended_a_writer_that_was_just_woken_writes_nothing_more() -> None:
    near, far = socket.socketpair()
    far.setblocking(False)
    command = pack(("SET", "k", b"x" * 300_000))
    link = RedisLink(SocketWire(near))

    async def end_the_link_as_the_socket_gets_room() -> None:
        with near.dup() as twin:
            await trio.lowlevel.wait_writable(twin)
            link.abort(ServerClosed())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await settled()
        call = Asked(link, nursery, command)
        await settled()
        nursery.start_soon(end_the_link_as_the_socket_gets_room)
        await settled()
        arrived = len(far.recv(1_000_000))
        await settled()
        while more := far.recv(1_000_000):
            arrived += len(more)
        # Which of the two tasks runs first is a matter of chance.
        assert call.no_reply.sent is (Sent.YES if arrived == len(command) else Sent.NO)
    far.close()
