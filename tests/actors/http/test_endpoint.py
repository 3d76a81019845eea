"""The endpoint as a scraper and a process manager see it: over real sockets."""

import socket
import subprocess
import sys
from functools import partial

import attrs
import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from resprout import Actor, Name, Shutdown, StartFailed, child, open_runtime, supervisor
from resprout.actors.connection.actor import Connection
from resprout.actors.http import HttpEndpoint, HttpLimits, Listening
from resprout.actors.monitor import HealthMonitor, MonitorPolicy
from resprout.actors.websocket import Counts, MemoryStore, MessageQueue
from resprout.runtime import Recipe, System
from tests.actors.connection.fake_server import FakeServer

HTTP = Name(HttpEndpoint, "http")
MONITOR = Name(HealthMonitor, "monitor")
QUICK = MonitorPolicy(every=0.05, recheck_every=0.05)


@attrs.define
class Brittle(Actor):
    async def crash(self) -> None:
        raise RuntimeError("on purpose")


@attrs.define
class Dial(Connection):
    """A connection to a `FakeServer`."""

    server: FakeServer

    async def on_start(self) -> None:
        self.keep("redis", self.server.connect)


BRITTLE = Name(Brittle, "brittle")
REDIS = Name(Dial, "redis")


def tree(server: FakeServer, endpoint: partial[HttpEndpoint] | None = None) -> Recipe:
    endpoint = endpoint or partial(HttpEndpoint, port=0, monitor=MONITOR)
    return supervisor(
        "app",
        child("http", endpoint, name=HTTP),
        child("redis", partial(Dial, server), name=REDIS),
        child("brittle", Brittle, name=BRITTLE),
        child("monitor", partial(HealthMonitor, {"redis": REDIS}, policy=QUICK), name=MONITOR),
    )


def listening() -> Listening:
    offer = HTTP.offered(Listening)
    assert offer is not None
    return offer


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await client.get(f"{listening().url}/metrics")
    assert answer.status_code == 200
    return values(answer.text)


async def until_status(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    with trio.fail_after(5):
        while True:
            answer = await client.get(f"{listening().url}{path}")
            if answer.status_code == status:
                return answer
            await trio.sleep(0.02)


async def test_a_scrape_shows_a_crash_and_a_connection_that_lost_its_link() -> None:
    server = FakeServer()
    async with open_runtime(tree(server)), httpx.AsyncClient() as client:
        await until_status(client, "/readyz", 200)
        before = await scraped(client)
        assert before["resprout_actor_restarts_total", (("actor", "app/brittle"),)] == 0
        assert before["resprout_connection_state", (("service", "redis"), ("state", "ready"))] == 1

        with pytest.raises(Exception, match="on purpose"):
            await BRITTLE.call(Brittle.crash)
        server.up = False
        server.link.die()
        await until_status(client, "/readyz", 503)

        after = await scraped(client)
        assert after["resprout_actor_restarts_total", (("actor", "app/brittle"),)] == 1
        crashes = ("actor", "app/brittle"), ("reason", "crashed")
        assert after["resprout_actor_exits_total", crashes] == 1
        assert after["resprout_connection_state", (("service", "redis"), ("state", "ready"))] == 0
        assert after["resprout_connection_losses_total", (("service", "redis"),)] == 1
        assert after["resprout_ready", ()] == 0
        assert after["resprout_service_healthy", (("service", "redis"),)] == 0


async def test_readyz_names_the_service_that_is_away_and_says_200_again_once_it_is_back() -> None:
    server = FakeServer()
    async with open_runtime(tree(server)), httpx.AsyncClient() as client:
        assert (await until_status(client, "/readyz", 200)).json()["reasons"] == []
        server.up = False
        server.link.die(ConnectionResetError("cut"))
        report = (await until_status(client, "/readyz", 503)).json()
        assert report["ready"] is False
        assert [reason.partition(":")[0] for reason in report["reasons"]] == ["redis"]
        assert report["services"]["redis"]["ok"] is False
        assert (await client.get(f"{listening().url}/livez")).status_code == 200
        server.up = True
        assert (await until_status(client, "/readyz", 200)).json()["services"]["redis"]["ok"] is True


async def test_readyz_is_503_while_the_monitor_is_not_there() -> None:
    endpoint = partial(HttpEndpoint, port=0, monitor=MONITOR)
    async with (
        open_runtime(supervisor("app", child("http", endpoint, name=HTTP))),
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(f"{listening().url}/readyz")
        assert answer.status_code == 503
        assert "monitor" in answer.json()["reasons"][0]


async def test_without_a_monitor_it_is_ready_while_the_tree_runs() -> None:
    endpoint = partial(HttpEndpoint, port=0)
    async with (
        open_runtime(supervisor("app", child("http", endpoint, name=HTTP))),
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(f"{listening().url}/readyz")).json()["ready"] is True


@attrs.define
class SlowToStop(Actor):
    may_end: trio.Event

    async def on_stop(self, reason: object) -> None:
        await self.may_end.wait()


async def test_a_draining_tree_is_not_ready_but_lives() -> None:
    may_end = trio.Event()
    app = supervisor(
        "app",
        child("http", partial(HttpEndpoint, port=0), name=HTTP),
        child("slow", partial(SlowToStop, may_end)),
    )
    async with open_runtime(app) as runtime, httpx.AsyncClient() as client, trio.open_nursery() as nursery:
        nursery.start_soon(runtime.stop)
        report = (await until_status(client, "/readyz", 503)).json()
        assert report["reasons"] == ["the tree is draining"]
        assert (await client.get(f"{listening().url}/livez")).status_code == 200
        may_end.set()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/", 404), ("POST", "/metrics", 405), ("HEAD", "/livez", 200)],
)
async def test_other_paths_and_methods_are_refused(method: str, path: str, status: int) -> None:
    async with open_runtime(tree(FakeServer())), httpx.AsyncClient() as client:
        assert (await client.request(method, listening().url + path)).status_code == status


async def test_a_client_may_ask_for_openmetrics() -> None:
    async with open_runtime(tree(FakeServer())), httpx.AsyncClient() as client:
        wanted = {"accept": "application/openmetrics-text; version=1.0.0"}
        answer = await client.get(f"{listening().url}/metrics", headers=wanted)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


async def test_metrics_of_the_application_are_shown_with_ours() -> None:
    own = CollectorRegistry()
    Counter("orders", "Orders taken.", registry=own).inc(3)
    endpoint = partial(HttpEndpoint, port=0, more=[own])
    async with open_runtime(tree(FakeServer(), endpoint)), httpx.AsyncClient() as client:
        assert (await scraped(client))["orders_total", ()] == 3


async def test_a_collector_that_raises_costs_a_500_and_nothing_else() -> None:
    class Broken:
        def collect(self) -> list[object]:
            raise RuntimeError("a bug")

    endpoint = partial(HttpEndpoint, port=0, more=[Broken()])
    async with open_runtime(tree(FakeServer(), endpoint)) as runtime, httpx.AsyncClient() as client:
        assert (await client.get(f"{listening().url}/metrics")).status_code == 500
        assert (await client.get(f"{listening().url}/livez")).status_code == 200
        assert runtime.ref("app/http").offered(Listening) is not None
        assert runtime.snapshot().children[0].restarts == 0


async def test_the_snapshot_shows_where_it_listens() -> None:
    async with open_runtime(tree(FakeServer())) as runtime:
        assert runtime.snapshot().children[0].facts["url"] == listening().url
        assert listening().url == f"http://127.0.0.1:{listening().port}"


async def test_clients_that_keep_their_connection_do_not_delay_the_shutdown() -> None:
    async with httpx.AsyncClient() as client:
        async with open_runtime(tree(FakeServer())) as runtime:
            await client.get(f"{listening().url}/livez")
            assert listening().server.connections == 1
            silent = await trio.open_tcp_stream("127.0.0.1", listening().port)
            before, place = trio.current_time(), runtime.ref("app/http")
            await runtime.stop()
            assert trio.current_time() - before < 0.5
            assert isinstance(place._find().exit_reason, Shutdown)
        await silent.aclose()


class SlowStore(MemoryStore):
    """Says after a while that it is away."""

    async def counts(self, stream: str | None = None) -> Counts:
        await trio.sleep(0.3)
        raise ConnectionError("away")


async def test_an_answer_in_work_is_finished_while_the_endpoint_stops() -> None:
    app = supervisor(
        "app",
        child("queue", lambda: MessageQueue(SlowStore())),
        child("http", partial(HttpEndpoint, port=0), name=HTTP),
    )
    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append(await client.get(f"{listening().url}/metrics"))

    async with httpx.AsyncClient() as client, open_runtime(app) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(ask, client)
        while not listening().server.connections:
            await trio.sleep(0.01)
        await trio.sleep(0.1)
        port = listening().port
        nursery.start_soon(runtime.stop)
        await trio.sleep(0.1)
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        assert answers == []
    assert [answer.status_code for answer in answers] == [200]
    assert answers[0].text.count("# TYPE") > 50


async def test_a_client_that_does_not_read_does_not_delay_the_shutdown() -> None:
    async with open_runtime(tree(FakeServer())) as runtime:
        greedy = await stalled_reader(runtime)
        before = trio.current_time()
        await runtime.stop()
        assert trio.current_time() - before < 2.5
        greedy.close()


async def test_a_client_that_does_not_read_is_dropped_after_a_while() -> None:
    endpoint = partial(HttpEndpoint, port=0, limits=HttpLimits(write=0.2))
    async with open_runtime(tree(FakeServer(), endpoint)) as runtime:
        greedy = await stalled_reader(runtime)
        with trio.fail_after(3):
            while listening().server.connections:
                await trio.sleep(0.02)
        greedy.close()


async def stalled_reader(runtime: System) -> trio.socket.SocketType:
    """Connect, ask for more than all buffers hold, and read nothing."""
    client = trio.socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    await client.connect(("127.0.0.1", listening().port))
    request = b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n" * 900
    sent = 0
    with trio.move_on_after(1.5):
        while sent < len(request):
            sent += await client.send(request[sent:])
        await trio.sleep_forever()
    return client


async def test_slow_headers_are_not_waited_for() -> None:
    endpoint = partial(HttpEndpoint, port=0, limits=HttpLimits(idle=0.3))
    async with open_runtime(tree(FakeServer(), endpoint)):
        slow = await trio.open_tcp_stream("127.0.0.1", listening().port)
        await slow.send_all(b"GET /livez HTTP/1.1\r\n")
        with trio.fail_after(3):
            while listening().server.connections:
                await trio.sleep(0.1)
                with trio.move_on_after(0.05):
                    try:
                        await slow.send_all(b"x-a: b\r\n")
                    except trio.BrokenResourceError:
                        break
        await slow.aclose()


async def test_idle_clients_keep_nobody_out() -> None:
    endpoint = partial(HttpEndpoint, port=0, limits=HttpLimits(connections=3, idle=60))
    async with open_runtime(tree(FakeServer(), endpoint)), httpx.AsyncClient() as client:
        idle = [await trio.open_tcp_stream("127.0.0.1", listening().port) for _ in range(8)]
        assert (await client.get(f"{listening().url}/livez")).status_code == 200
        assert listening().server.connections <= 3
        for stream in idle:
            await stream.aclose()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01 not http\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 40_000 + b"\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\nabc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n garbage",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
        b"http2-settings: !!!\r\n\r\n",
    ],
    ids=["tls", "long header", "long body", "broken http2", "websocket", "broken upgrade"],
)
async def test_garbage_costs_its_sender_the_connection_and_nobody_else(garbage: bytes) -> None:
    endpoint = partial(HttpEndpoint, port=0, limits=HttpLimits(idle=0.3))
    async with open_runtime(tree(FakeServer(), endpoint)) as runtime, httpx.AsyncClient() as client:
        stream = await trio.open_tcp_stream("127.0.0.1", listening().port)
        await stream.send_all(garbage)
        with trio.fail_after(3):
            try:
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        await stream.aclose()
        assert (await client.get(f"{listening().url}/livez")).status_code == 200
        assert runtime.snapshot().children[0].restarts == 0


async def test_a_port_that_is_taken_is_named_with_the_fix() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        app = supervisor("app", child("http", partial(HttpEndpoint, port=port)))
        with pytest.raises(StartFailed, match=rf"127\.0\.0\.1:{port}.*another port"):
            async with open_runtime(app):
                pass


async def test_a_port_that_is_no_port_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        HttpEndpoint(port=70_000)


async def raise_a_bug() -> None:
    raise RuntimeError("a bug in the endpoint")


async def test_a_crash_of_the_endpoint_keeps_the_port_and_the_counts() -> None:
    async with open_runtime(tree(FakeServer())), httpx.AsyncClient() as client:
        with pytest.raises(Exception, match="on purpose"):
            await BRITTLE.call(Brittle.crash)
        exits = "resprout_actor_exits_total", (("actor", "app/brittle"), ("reason", "crashed"))
        assert (await scraped(client))[exits] == 1
        before = listening()
        endpoint = HTTP.instance
        assert endpoint is not None
        endpoint.context.start_soon(raise_a_bug)
        with trio.fail_after(5):
            while HTTP.offered(Listening) in (None, before):
                await trio.sleep(0.01)
        assert listening().port == before.port
        now = await scraped(client)
        assert now["resprout_actor_restarts_total", (("actor", "app/http"),)] == 1
        assert now[exits] == 1


def test_a_missing_extra_is_named_with_the_line_that_installs_it() -> None:
    for missing in ("anycorn", "starlette", "prometheus_client"):
        code = f"import sys; sys.modules[{missing!r}] = None\nimport resprout.actors.http"
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "pip install 'resprout[web]'" in tried.stderr
