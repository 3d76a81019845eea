"""Connecting with asyncpg, behind the seam."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import asyncpg

from resprout.actors.postgres.asyncpg_connection import AsyncpgConnection
from resprout.actors.postgres.dsn import count_hosts, wanted_session
from resprout.actors.postgres.loop import TrioLoop
from resprout.actors.postgres.session_setup import SessionSetup
from resprout.actors.postgres.tls import tls_for
from resprout.runtime.classify import is_programming_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

HOST_TIMEOUT = 3.0  # For each of several hosts, so that one that hangs does not use up the whole attempt.


class AsyncpgDriver:
    """Opens connections with asyncpg, and sets each one up."""

    def __init__(self, setup: SessionSetup | None = None) -> None:
        self._setup = setup or SessionSetup()

    async def connect(
        self, dsn: str, nursery: trio.Nursery, on_closed: Callable[[], None], *, name: str
    ) -> AsyncpgConnection:
        """As `Driver.connect`. TLS is verified unless the DSN or this machine say otherwise: `tls_for`."""
        tls = tls_for(dsn)
        loop = TrioLoop(screened=True)
        settings = {} if "application_name=" in dsn else {"application_name": name[:63]}
        settings |= self._setup.settings
        if count_hosts(dsn) > 1:
            loop.patience = HOST_TIMEOUT
        await nursery.start(loop.serve)

        async def connect() -> asyncpg.Connection[asyncpg.Record]:
            return await asyncpg.connect(
                dsn,
                loop=loop.as_asyncio,
                timeout=math.inf,  # The caller's scope is the deadline.
                ssl=tls,
                target_session_attrs=wanted_session(dsn),  # type: ignore[arg-type]  # Documented as a str.
                max_cached_statement_lifetime=0,  # Connections do not live long enough to need it.
                server_settings=settings,
            )

        try:
            raw = await loop.run(connect)
        except Exception as error:
            loop.stop()
            if is_programming_error(error):
                # asyncpg stumbles over a server that leaves something out. The DSN was checked before.
                raise ConnectionError(f"the server does not speak as a Postgres does: {error!r}") from error
            raise
        except BaseException:
            loop.stop()
            raise
        loop.patience = math.inf
        connection = AsyncpgConnection(raw, loop, on_closed)
        try:
            await connection.set_up(self._setup.codecs)
        except BaseException:
            connection.terminate()
            raise
        return connection
