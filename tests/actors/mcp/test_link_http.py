"""A session over streamable HTTP with a real server in its own process, and everything that can happen to it."""

import signal
from collections.abc import AsyncIterator

import pytest
import trio

from resprout.actors.mcp.errors import BadAnswer, CredentialsRefused, NotAnswered, SessionLost
from resprout.actors.mcp.link import open_link
from resprout.actors.mcp.servers import Http, Revision
from resprout.runtime.errors import Sent
from tests.actors.mcp.mcp_servers import HttpServer, http_server, number, session, tool

pytestmark = pytest.mark.real
BOTH = pytest.mark.parametrize("revision", list(Revision), ids=lambda revision: revision.value)


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    with http_server() as server:
        await server.start()
        yield server


@BOTH
async def test_a_tool_answers(server: HttpServer, revision: Revision) -> None:
    async with session(Http(url=server.url, revision=revision)) as link:
        assert await number(link, "add", a=1, b=2) == 3
        assert link.protocol == ("2026-07-28" if revision is Revision.AUTO else "2025-11-25")


@BOTH
async def test_killing_the_server_in_the_middle_of_a_call_frees_the_caller_at_once(
    server: HttpServer, revision: Revision
) -> None:
    async with session(Http(url=server.url, revision=revision)) as link, trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(_soon, server.kill)
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "slow", timeout=10, seconds=9)
        assert trio.current_time() - began < 4  # An old revision tries twice, a second apart, to resume.
        assert caught.value.sent is not Sent.NO
        with trio.fail_after(5):
            assert isinstance(await link.wait_lost(), SessionLost)


async def _soon(do: object, *args: object) -> None:
    await trio.sleep(0.2)
    do(*args)  # type: ignore[operator]  # A nursery forgets types.


async def test_one_failed_request_does_not_cost_the_others_their_answers(server: HttpServer) -> None:
    limited = Http(url=server.url, max_message_bytes=20_000)
    outcomes: list[str] = []
    async with session(limited) as link, trio.open_nursery() as nursery:
        nursery.start_soon(_note, outcomes, link)
        await trio.sleep(0.1)
        with pytest.raises(BadAnswer, match="longer than 20000 bytes"):
            await tool(link, "echo", text="x" * 50_000)
        with trio.fail_after(5):
            while not outcomes:
                await trio.sleep(0.01)
    assert outcomes == ["done"]


async def _note(outcomes: list[str], link: object) -> None:
    result = await tool(link, "slow", seconds=0.5)  # type: ignore[arg-type]  # As above.
    outcomes.append(result.structured_content["result"])


async def test_a_server_that_refuses_connections_has_not_seen_the_call(server: HttpServer) -> None:
    async with session(Http(url=server.url)) as link:
        server.kill()
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "slow", seconds=0)
        assert caught.value.sent is Sent.NO
        with trio.fail_after(1):
            await link.wait_lost()


async def test_the_new_revision_has_no_session_and_outlives_a_restart_nobody_noticed(
    server: HttpServer,
) -> None:
    async with session(Http(url=server.url)) as link:
        before = await number(link, "pid")
        server.kill()
        await server.start()
        assert await number(link, "pid") != before


async def test_an_old_session_ends_with_its_server_and_the_call_is_known_not_to_have_run(
    server: HttpServer,
) -> None:
    async with session(Http(url=server.url, revision=Revision.LEGACY)) as link:
        server.kill()
        await server.start()
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "slow", seconds=0)
        assert caught.value.sent is Sent.NO
        with trio.fail_after(5):
            await link.wait_lost()
    async with session(Http(url=server.url, revision=Revision.LEGACY)) as link:
        assert await number(link, "add", a=1, b=1) == 2


@BOTH
async def test_a_hung_server_costs_the_caller_its_deadline_and_then_the_session(
    server: HttpServer, revision: Revision
) -> None:
    async with session(Http(url=server.url, revision=revision)) as link:
        server.send_signal(signal.SIGSTOP)
        began = trio.current_time()
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "slow", timeout=0.3, seconds=0)
        assert trio.current_time() - began < 0.6
        assert caught.value.timed_out
        assert caught.value.sent is Sent.MAYBE
        await link.wait_lost()
        began = trio.current_time()
        await link.aclose()
        assert trio.current_time() - began < 2


@BOTH
async def test_a_cancelled_call_leaves_at_once_and_harms_nobody(
    server: HttpServer, revision: Revision
) -> None:
    async with session(Http(url=server.url, revision=revision)) as link:
        began = trio.current_time()
        with trio.move_on_after(0.1):
            await tool(link, "slow", seconds=30)
        assert trio.current_time() - began < 0.3
        assert await number(link, "add", a=2, b=2) == 4


async def test_closing_an_old_session_while_the_server_hangs_is_bounded(server: HttpServer) -> None:
    async with session(Http(url=server.url, revision=Revision.LEGACY)) as link:
        server.send_signal(signal.SIGSTOP)
        began = trio.current_time()
        await link.aclose()
        assert trio.current_time() - began < 3


async def test_nothing_listening_is_a_lost_session() -> None:
    with http_server() as nobody:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(3), pytest.raises(SessionLost, match=r"refused|attempts to connect failed"):
                await open_link(Http(url=nobody.url), nursery)


async def test_the_headers_provider_is_asked_for_each_session(server: HttpServer) -> None:
    asked: list[int] = []

    async def headers() -> dict[str, str]:
        asked.append(1)
        return {"authorization": "Bearer x"}

    for _ in range(2):
        async with session(Http(url=server.url, headers=headers)) as link:
            await number(link, "add", a=1, b=1)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("status", "expected", "sent"),
    [(401, CredentialsRefused, Sent.NO), (503, SessionLost, Sent.NO), (502, SessionLost, Sent.MAYBE)],
)
async def test_a_status_in_place_of_an_answer_says_what_to_do(
    server: HttpServer, status: int, expected: type[Exception], sent: Sent
) -> None:
    async with session(Http(url=server.url)) as link:
        server.kill()
        async with trio.open_nursery() as nursery:
            await nursery.start(_answer_all_with, status, server.port)
            with pytest.raises(NotAnswered) as caught:
                await tool(link, "add", a=1, b=1)
            assert isinstance(caught.value.why, expected)
            assert caught.value.sent is sent
            assert caught.value.retry_after == (7 if status == 503 else None)
            with trio.fail_after(3):
                await link.wait_lost()
            with pytest.raises(expected, match=str(status)):
                await open_link(Http(url=server.url), nursery)
            nursery.cancel_scope.cancel()


async def _answer_all_with(
    status: int, port: int, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        retry = "Retry-After: 7\r\n" if status == 503 else ""
        await stream.send_all(
            f"HTTP/1.1 {status} No\r\n{retry}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await stream.aclose()

    await trio.serve_tcp(answer, port, host="127.0.0.1", task_status=task_status)


async def test_a_server_that_ends_inside_a_tool_may_have_run_it(server: HttpServer) -> None:
    async with session(Http(url=server.url)) as link:
        with pytest.raises(NotAnswered) as caught:
            await tool(link, "die")
        assert caught.value.sent is Sent.MAYBE
