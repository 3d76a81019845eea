"""Who gets a stream when several sessions want it."""

from resprout.actors.websocket.hub import Hub
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
