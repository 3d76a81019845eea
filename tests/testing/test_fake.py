"""The fake service: a real connection to a remote that does as the test says."""

import pytest
import trio
from trio.testing import MockClock

from resprout import (
    TEMPORARY,
    ChildSpec,
    DeadlineExceeded,
    Name,
    OutcomeUnknown,
    Sent,
    Unavailable,
    child,
    supervisor,
    testing,
)
from resprout.actors.connection import WAIT, BackingOff, Connection, ConnectionChanged, Ready
from resprout.actors.redis import RedisClient

REDIS = Name(Connection, "redis")


def app(service: testing.FakeService) -> ChildSpec:
    return supervisor("app", service.child("redis", name=REDIS))


def fake(**options: object) -> tuple[testing.FakeService, RedisClient]:
    service = testing.FakeService("redis")
    return service, service.client(REDIS, RedisClient, **options)  # type: ignore[arg-type]  # of the test


async def test_a_fake_answers_for_the_real_service(autojump_clock: MockClock) -> None:
    service, redis = fake()
    service.answers(RedisClient.get, b"42")
    async with testing.runtime(app(service)):
        await service.wait_ready()
        assert await redis.get("answer") == b"42"
        assert await redis.set("k", "v") is None
    assert [(request.method, request.args) for request in service.requests] == [
        ("get", ("answer",)),
        ("set", ("k", "v")),
    ]


async def test_while_it_is_down_calls_get_the_errors_of_the_real_connection(
    autojump_clock: MockClock,
) -> None:
    service, redis = fake()
    async with testing.runtime(app(service)):
        await service.wait_ready()
        service.down()
        await service.wait_down()
        with pytest.raises(Unavailable) as caught:
            await redis.get("k")
        assert caught.value.retry_after is not None
        assert isinstance(service.state, BackingOff)
        await trio.sleep(60)
        assert service.attempts > 3
        service.up()
        await service.wait_ready(within=60)
        assert isinstance(service.state, Ready)
        await redis.get("k")


async def test_an_outage_of_the_fake_restarts_nobody(autojump_clock: MockClock) -> None:
    service, _ = fake()
    async with testing.runtime(app(service)) as rt:
        service.down()
        await trio.sleep(3600)
        assert [place.restarts for place in rt.snapshot().walk()] == [0, 0]
        recorder = testing.recorder_of(rt)
        assert recorder is not None
        assert len(recorder.of(ConnectionChanged, "app/redis")) > 50


async def test_a_call_can_wait_for_the_connection(autojump_clock: MockClock) -> None:
    service, redis = fake(on_down=WAIT, timeout=60.0)
    service.answers("get", b"late")
    service.down()
    async with testing.runtime(app(service)), trio.open_nursery() as nursery:
        nursery.start_soon(up_after, service, 20.0)
        assert await redis.get("k") == b"late"
        assert trio.current_time() >= 20


async def up_after(service: testing.FakeService, seconds: float) -> None:
    await trio.sleep(seconds)
    service.up()


async def test_what_breaks_under_a_call_leaves_its_outcome_unknown(autojump_clock: MockClock) -> None:
    service, redis = fake()
    service.slow(1.0)
    async with testing.runtime(app(service)), trio.open_nursery() as nursery:
        await service.wait_ready()
        nursery.start_soon(down_after, service, 0.5)
        with pytest.raises(OutcomeUnknown, match="it may have run or not") as caught:
            await redis.incr("k")
        assert caught.value.sent is Sent.MAYBE


async def down_after(service: testing.FakeService, seconds: float) -> None:
    await trio.sleep(seconds)
    service.down(ConnectionResetError("kill -9"))


async def test_a_slow_answer_meets_the_deadline_of_the_call(autojump_clock: MockClock) -> None:
    service, redis = fake(timeout=2.0, idempotent=True)
    service.slow(10.0)
    async with testing.runtime(app(service)):
        await service.wait_ready()
        before = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await redis.get("k")
        assert trio.current_time() - before == pytest.approx(2.0)


async def test_a_service_that_hangs_is_found_out_by_its_probes(autojump_clock: MockClock) -> None:
    service, _ = fake()
    async with testing.runtime(app(service)):
        await service.wait_ready()
        service.hang()
        await service.wait_down(within=45)
        service.up()
        await service.wait_ready(within=60)


async def test_a_call_can_fail_a_few_times(autojump_clock: MockClock) -> None:
    service, redis = fake()
    service.answers("get", b"v")
    service.fail("get", ValueError("wrong type"), times=2)
    async with testing.runtime(app(service)):
        await service.wait_ready()
        for _ in range(2):
            with pytest.raises(ValueError, match="wrong type"):
                await redis.get("k")
        assert await redis.get("k") == b"v"


async def test_an_answer_can_be_computed(autojump_clock: MockClock) -> None:
    service, redis = fake()

    async def get(key: str) -> bytes:
        await trio.sleep(0.1)
        return key.upper().encode()

    service.runs("get", get)
    async with testing.runtime(app(service)):
        await service.wait_ready()
        assert await redis.get("k") == b"K"


async def test_a_fake_survives_restarts_of_its_connection(autojump_clock: MockClock) -> None:
    service, redis = fake()
    async with testing.runtime(app(service)):
        await service.wait_ready()
        await testing.crash(REDIS)
        await testing.wait_for_restart(REDIS)
        await service.wait_ready()
        await redis.get("k")


async def test_a_client_has_the_methods_of_its_model_only() -> None:
    _, redis = fake()
    with pytest.raises(AttributeError, match="RedisClient has no method 'gte'"):
        redis.gte  # type: ignore[attr-defined]  # noqa: B018 - that is the mistake.


async def test_a_call_while_no_connection_runs_is_a_typed_error(autojump_clock: MockClock) -> None:
    service = testing.FakeService("redis")
    tree = supervisor("app", child("other", service.start, restart=TEMPORARY))
    async with testing.runtime(tree) as rt:
        ref = rt.ref("app/other")
        await testing.kill(ref)
        client = service.client(ref, RedisClient)
        with pytest.raises(Unavailable):
            await client.get("k")


async def test_a_delay_that_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match=r"see hang\(\)"):
        testing.FakeService().slow(float("inf"))
