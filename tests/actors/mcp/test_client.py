"""What callers are told between two sessions, without any server."""

import random
import types

import pytest
import trio

from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Keeper
from resprout.actors.mcp import WAIT, Http, McpClient, McpConnection, Replay
from resprout.actors.mcp.errors import NotAnswered, SessionLost
from resprout.actors.mcp.link import McpLink
from resprout.runtime.errors import Sent, ServiceError, Unavailable


class Offering:
    """A ref to a connection whose actor lives and offers *gate*, whatever its state."""

    def __init__(self, gate: Gate[McpLink]) -> None:
        self.gate = gate

    def offered(self, _kind: object) -> Gate[McpLink]:
        return self.gate


async def never(_nursery: trio.Nursery) -> McpLink:
    raise ConnectionRefusedError("down")


def gate_of_none() -> Gate[McpLink]:
    return Keeper("mcp", never, emit=lambda _: None, actor="test/mcp", random=random.Random(1)).gate


async def test_waiting_for_a_connection_that_was_drained_ends_at_the_deadline(autojump_clock) -> None:
    gate = gate_of_none()
    gate.drain()
    client = McpClient(Offering(gate), timeout=5.0, on_down=WAIT)  # type: ignore[arg-type]  # Enough of one.
    with trio.fail_after(60), pytest.raises(Unavailable) as caught:
        await client.call_tool("search")
    assert trio.current_time() < 5.1
    assert caught.value.state == "stopped"


class Ending:
    """A session whose only request ends without an answer, marked *sent*."""

    lost = SessionLost("gone")
    tools = types.MappingProxyType({})

    def __init__(self, sent: Sent) -> None:
        self.sent = sent

    async def request(self, *_: object, timeout: float) -> None:
        await trio.lowlevel.checkpoint()
        raise NotAnswered(self.lost, sent=self.sent)


@pytest.mark.parametrize("ends", [(Sent.MAYBE, Sent.NO), (Sent.MAYBE, Sent.NO, Sent.NO, Sent.NO)])
async def test_what_may_have_run_once_is_never_called_unsent_later(
    ends: tuple[Sent, ...], autojump_clock
) -> None:
    sessions = [Ending(sent) for sent in ends]
    gate = gate_of_none()

    class Serving(McpClient):
        async def _session(self, deadline: float, lost: NotAnswered | None) -> tuple[Gate[McpLink], McpLink]:
            if sessions:
                return gate, sessions.pop(0)  # type: ignore[return-value]  # As much of a link as is needed.
            return await super()._session(deadline, lost)

    with pytest.raises(ServiceError) as caught:
        await Serving(gate, timeout=5.0, replay=Replay.ALWAYS).call_tool("search")
    assert caught.value.sent is Sent.MAYBE
    assert not isinstance(caught.value, Unavailable)


def test_no_secret_of_an_address_is_shown() -> None:
    server = Http(url="https://ann:hunter2@tools.example/mcp?key=hunter3")
    connection = McpConnection(server)
    assert "hunter" not in f"{server} {server!r} {connection!r}"
    assert "tools.example/mcp" in repr(server)
    with pytest.raises(ValueError, match="must start with") as caught:
        Http(url="ann:hunter2@tools.example/mcp?key=hunter3")
    assert "hunter" not in str(caught.value)
