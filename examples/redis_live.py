"""One Redis connection actor serves workers that wait for jobs, subscribers and transactions, each without the others.

Needs the extras ``redis`` and ``embedded``: it starts a Redis of its own, and kills it once.
"""

from functools import partial

import trio

from resprout import Name, OutcomeUnknown, Unavailable, child, open_runtime, supervisor
from resprout.actors.redis import WAIT, MaybeMissed, Message, RedisClient, RedisConnection, RedisTransaction
from resprout.testing.servers import LocalServer, redis_server

REDIS = Name(RedisConnection, "redis")
redis = RedisClient(REDIS, on_down=WAIT, timeout=10, decode_responses=True)


async def work() -> None:
    for _ in range(2):
        try:
            print("job:", await redis.blpop(["jobs"], timeout=5))
        except (OutcomeUnknown, Unavailable) as error:
            print("while waiting for a job:", type(error).__name__)


async def listen(listening: trio.Event) -> None:
    async with redis.subscribe("news") as news:
        listening.set()
        async for item in news:
            match item:
                case Message(data=data):
                    print("news:", data)
                    if data == "the end":
                        return
                case MaybeMissed():
                    print("news may be missing")
                    await redis.publish("news", "the end")


async def sell(transaction: RedisTransaction) -> None:
    left = int(str(await transaction.get("seats")))
    transaction.queue.set("seats", left - 1)


async def show(server: LocalServer) -> None:
    await redis.set("seats", 10)
    async with trio.open_nursery() as buyers:
        for _ in range(5):
            buyers.start_soon(redis.transact, sell, "seats")
    print("seats left:", await redis.get("seats"))
    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, listening)
        nursery.start_soon(work)
        await listening.wait()
        await redis.rpush("jobs", "paint")
        await redis.publish("news", "all is well")
        await trio.sleep(0.2)
        server.kill()
        await trio.sleep(0.2)
        await server.restart()


async def main() -> None:
    async with redis_server() as server:
        app = supervisor("app", child("redis", partial(RedisConnection, server.url), name=REDIS))
        async with open_runtime(app):
            await show(server)


if __name__ == "__main__":
    trio.run(main)
