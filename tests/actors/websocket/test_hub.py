"""Who gets a stream when several sessions want it."""

import msgspec
import pytest

from resprout.actors.websocket.hub import Hub, QueuePolicy
from resprout.actors.websocket.memory_store import MemoryStore


class Ear:
    """A session that only notes that it was superseded."""

    superseded = False

    def more(self) -> None:
        """Nothing to deliver here."""

    def supersede(self) -> None:
        self.superseded = True


def test_a_stream_goes_to_the_client_that_came_last() -> None:
    hub, first, second = Hub(MemoryStore()), Ear(), Ear()
    hub.subscribe("ann", first, arrived=1.0)
    hub.subscribe("ann", second, arrived=2.0)
    assert (first.superseded, second.superseded) == (True, False)


def test_in_a_new_hub_too_whichever_session_gets_there_first() -> None:
    hub, first, second = Hub(MemoryStore()), Ear(), Ear()
    kept = hub.subscribe("ann", second, arrived=2.0)
    late = hub.subscribe("ann", first, arrived=1.0)
    assert (first.superseded, second.superseded) == (True, False)
    late.update(100, 1)
    late.close()
    assert (hub.sessions, hub.held, hub.in_flight) == (1, 0, 0)
    kept.close()
    assert hub.sessions == 0


@pytest.mark.parametrize(
    "text",
    [b"{no json", b"", b"1 2", b"1],[2", b'"\xff"', b'"\\ud800"', b"[" * 990 + b"]" * 990, b"[" * 100_000],
)
async def test_what_a_client_could_not_read_is_refused_before_it_blocks_the_stream(text: bytes) -> None:
    hub = Hub(MemoryStore())
    for data in (msgspec.Raw(text), {"inside": msgspec.Raw(text)}):
        with pytest.raises(ValueError, match="JSON"):
            await hub.enqueue("ann", data)
    assert await hub.enqueue("ann", msgspec.Raw(b'{"depth": [[[1]]]}')) == 1


@pytest.mark.parametrize("wrong", [{"max_message_bytes": 1 << 20}, {"poll": 0.0}, {"sweep": -1.0}])
def test_a_policy_under_which_messages_could_not_travel_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        QueuePolicy(**wrong)
