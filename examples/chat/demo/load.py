"""The load: people who log in, post, listen and ask, without a pause, and write down what they were told."""

import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from examples.chat.actors import ASSISTANT, ROOMS, TRENDING, Assistant, Rooms, Trending
from examples.chat.demo.books import Books
from examples.chat.names import AUTH, LIVE, POSTGRES, REDIS
from examples.chat.sessions import sessions
from resprout import ActorError, ServiceError, System
from resprout.actors.auth import AuthClient
from resprout.actors.postgres import PostgresClient
from resprout.actors.redis import RedisClient
from resprout.actors.websocket import Delivery, Listening, Lost, Restarted, connect

T = TypeVar("T")

ROOM = "lobby"
USERS = tuple(f"user{number}" for number in range(6))
PAUSE = 0.02  # Seconds between two requests of one person.


@attrs.define
class Load:
    """Everybody who uses the chat. Started in a nursery; `stopping` ends new requests but not open ones."""

    books: Books
    runtime: System
    tokens: dict[str, str] = attrs.field(factory=dict)
    stopping: bool = False
    redis: RedisClient = attrs.field(factory=lambda: RedisClient(REDIS, decode_responses=True, timeout=2.0))
    database: PostgresClient = attrs.field(factory=lambda: PostgresClient(POSTGRES, timeout=2.0))
    auth: AuthClient[str] = attrs.field(factory=lambda: AuthClient(AUTH))

    async def move_in(self) -> None:
        """Log everybody in and let them join the room, however long it takes."""
        await _until_answered(self.database.execute, "CREATE TABLE IF NOT EXISTS load (n bigint PRIMARY KEY)")
        for user in USERS:
            self.tokens[user] = await _until_answered(sessions.issue, user)
            await _until_answered(ROOMS.call, Rooms.join, self.tokens[user], ROOM)

    def start(self, people: trio.Nursery, listeners: trio.Nursery) -> None:
        """Begin. *people* ends by itself after `stopping` is set, *listeners* has to be cancelled."""
        for user in USERS:
            listeners.start_soon(self._listen, user)
            people.start_soon(self._post, user)
        for number in range(6):
            people.start_soon(self._keep_in_redis, number)
            people.start_soon(self._keep_in_postgres, number)
        people.start_soon(self._count_in_redis)
        people.start_soon(self._show_token)
        for number in range(3):
            people.start_soon(self._ask, number)
        people.start_soon(self._look_at_trends)

    async def _listen(self, user: str) -> None:
        """One WebSocket client. It acknowledges a message by asking for the next one."""
        service = self.books.service("websocket")
        async with connect(self._live_url(), self.tokens[user]) as inbox:
            try:
                async for item in inbox:
                    match item:
                        case Delivery(id=id):
                            service.good_answer()
                            self.books.received[user].append((id.rpartition("-")[0], id))
                        case Lost() | Restarted():
                            self.books.broken_promises.append(f"{user} was told of lost messages: {item}")
            finally:
                self.books.repeated += inbox.duplicates

    def _live_url(self) -> str:
        listening = LIVE.offered(Listening)
        if listening is None:
            raise RuntimeError("the WebSocket server does not run at the start of the demo")
        return listening.url

    async def _post(self, user: str) -> None:
        """Post until it is accepted: a message whose author was told nothing is sent again with its id."""
        service = self.books.service("chat")
        for number in itertools.count():
            id = f"{user}-{number}"
            while True:
                if self.stopping:
                    return
                with service.asked():
                    await ROOMS.call(Rooms.post, self.tokens[user], ROOM, id, f"hello number {number}")
                    self.books.accepted[user].append(id)
                    break
                await trio.sleep(PAUSE)
            TRENDING.cast(Trending.count, f"hello number {number}")
            await trio.sleep(5 * PAUSE)

    async def _keep_in_redis(self, number: int) -> None:
        service = self.books.service("redis")
        for turn in itertools.count():
            if self.stopping:
                return
            key, value = f"load:{number}:{turn}", secrets.token_hex(8)
            with service.asked():
                await self.redis.set(key, value)
                self.books.redis_writes[key] = value
            if key in self.books.redis_writes:
                with service.asked():
                    service.wrong += await self.redis.get(key) != value
            await trio.sleep(PAUSE)

    async def _count_in_redis(self) -> None:
        """INCR must never run twice: the count lies between what was answered and what was sent."""
        service, key = self.books.service("redis"), "load:count"
        while not self.stopping:
            unknown = service.unknown
            with service.asked():
                await self.redis.incr(key)
                self.books.increments += 1
            self.books.increments_unknown += service.unknown - unknown
            await trio.sleep(PAUSE)

    async def _keep_in_postgres(self, number: int) -> None:
        service = self.books.service("postgres")
        for turn in itertools.count():
            if self.stopping:
                return
            n = turn * 100 + number
            with service.asked():
                await self.database.execute("INSERT INTO load VALUES ($1)", n)
                self.books.postgres_writes.append(n)
            with service.asked():
                service.wrong += await self.database.fetchval("SELECT $1::bigint", n) != n
            await trio.sleep(PAUSE)

    async def _show_token(self) -> None:
        service = self.books.service("auth")
        for user in itertools.cycle(USERS):
            if self.stopping:
                return
            with service.asked():
                service.wrong += await self.auth.verify(self.tokens[user]) != user
            await trio.sleep(PAUSE)

    async def _ask(self, number: int) -> None:
        service = self.books.service("mcp")
        for turn in itertools.count():
            if self.stopping:
                return
            question = f"{number}.{turn}"
            with service.asked():
                service.wrong += question not in await ASSISTANT.call(Assistant.ask, question)
            await trio.sleep(PAUSE)

    async def _look_at_trends(self) -> None:
        service = self.books.service("trending")
        while not self.stopping:
            with service.asked():
                await TRENDING.within(1).call(Trending.top)
            await trio.sleep(PAUSE)


async def _until_answered(method: Callable[..., Awaitable[T]], *args: object) -> T:
    """For the preparations, which nobody measures: try again for as long as the answer is no."""
    while True:
        try:
            return await method(*args)
        except (ServiceError, ActorError):
            await trio.sleep(PAUSE)
