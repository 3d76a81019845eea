"""What the tests of sessions and clients have in common."""

from collections.abc import Callable

import trio

from resprout.actors.websocket.client import Client
from resprout.actors.websocket.delivery import DeliveryPolicy
from resprout.actors.websocket.hub import Hub, QueuePolicy
from resprout.actors.websocket.law import Counts, check_conservation
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.receiver import Delivery
from resprout.actors.websocket.store import Store


async def take(client: Client, count: int) -> list[object]:
    """The data of the next *count* items, the last of which stays in hand."""
    with trio.fail_after(10):
        items = [await client.__anext__() for _ in range(count)]
    return [item.data if isinstance(item, Delivery) else item for item in items]


async def eventually(hub: Hub, books: Counts, stream: str | None = None) -> None:
    """Wait until the books say so, and prove the law."""
    with trio.move_on_after(5):
        while await hub.counts(stream) != books:
            await trio.sleep(0.01)
    assert await hub.counts(stream) == books
    check_conservation(await hub.audit())


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition()* holds."""
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.01)


def hub_with(store: Store | None = None, **delivery: object) -> Hub:
    policy = QueuePolicy(delivery=DeliveryPolicy(**delivery))
    return Hub(store or MemoryStore(), policy)
