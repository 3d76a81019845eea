"""Whether a connection answers, and what it was asked."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from resprout.actors.postgres.driver import ConnectionLost
from resprout.runtime.errors import Sent

if TYPE_CHECKING:
    from resprout.actors.postgres.driver import DriverConnection


async def echo(connection: DriverConnection) -> None:
    """Have a random word echoed.

    Raises:
        ConnectionLost: Another word came back: the connection is out of step, and nobody may use it.
    """
    word = secrets.token_hex(8)
    answer = await connection.fetchval("SELECT $1::text", word)
    if answer != word:
        connection.terminate()
        raise ConnectionLost(Sent.YES, ValueError(f"asked to echo {word!r}, the server said {answer!r}"))
