"""One attempt to open a pool. The keeper of the connection repeats it for ever."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from resprout.actors.connection.keeper import Keeper
from resprout.actors.postgres.dsn import check_dsn
from resprout.actors.postgres.pool import Pool

if TYPE_CHECKING:
    import trio

    from resprout.actors.connection.gate import Gate
    from resprout.actors.postgres.setting import Setting

DsnSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A DSN, or a function that gives one; it is asked on each attempt, so credentials can rotate."""


async def dsn_from(source: DsnSource) -> str:
    """The DSN to use now.

    Raises:
        ValueError: It is none.
    """
    given = source() if callable(source) else source
    dsn = await given if inspect.isawaitable(given) else given
    check_dsn(dsn)
    return dsn


class PoolConnect:
    """Called with a nursery it opens a pool there, which reports to `gate`; set that before the first call."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.gate: Gate[Pool] | None = None

    async def __call__(self, nursery: trio.Nursery) -> Pool:
        """One attempt."""
        assert self.gate is not None
        pool = Pool(self.setting, self.gate)
        await pool.open(nursery)
        return pool


def keeper_of(setting: Setting) -> Keeper[Pool]:
    """A keeper for a pool outside any actor: run it, and give its gate to `PostgresClient`."""
    connect = PoolConnect(setting)
    keeper = Keeper(
        setting.service,
        connect,
        emit=setting.emit,
        actor=setting.actor,
        random=setting.random,
        policy=setting.policy.keeper,
    )
    connect.gate = keeper.gate
    return keeper
