"""One pool actor serves COPY, transactions that are run again, and a listener that outlives the server.

Needs the extras ``postgres`` and ``embedded``: it starts a Postgres of its own, and kills it once.
"""

from functools import partial

import trio

from resprout import Name, child, open_runtime, supervisor
from resprout.actors.postgres import (
    WAIT,
    CopyOptions,
    Missed,
    Notification,
    PostgresClient,
    PostgresConnection,
    PostgresPool,
)
from resprout.testing.servers import LocalServer, postgres_server

DB = Name(PostgresPool, "db")
db = PostgresClient(DB, on_down=WAIT, timeout=20, acquire_timeout=20)


async def listen(listening: trio.Event) -> None:
    async with db.listen("sales") as notifications:
        listening.set()
        async for notice in notifications:
            match notice:
                case Notification(payload=payload):
                    print("sold:", payload)
                case Missed():  # Postgres keeps nothing for a listener that is away: look for yourself.
                    left = await db.fetchval("SELECT sum(seats) FROM shows", of=int)
                    print("something may have been missed; seats left:", left)
                    return


async def sell(tx: PostgresConnection, show: str) -> int:
    left = await tx.fetchval("SELECT seats FROM shows WHERE name = $1", show, of=int)
    await tx.execute("UPDATE shows SET seats = $2 WHERE name = $1", show, left - 1)
    await tx.execute("SELECT pg_notify('sales', $1)", show)  # Sent by COMMIT, so once for each sale.
    return left - 1


async def buy(show: str) -> None:
    await db.run_in_transaction(sell, show, isolation="serializable")


async def perform(server: LocalServer) -> None:
    await db.execute("CREATE TABLE shows (name text PRIMARY KEY, seats int)")
    print("copied in:", await db.copy_from_records("shows", [("Hamlet", 8), ("Macbeth", 5)]))
    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, listening)
        await listening.wait()
        async with trio.open_nursery() as buyers:  # All read the same count; those who lose are run again.
            for _ in range(3):
                buyers.start_soon(buy, "Hamlet")
        async with db.copy_to("SELECT * FROM shows ORDER BY name", options=CopyOptions(format="csv")) as data:
            print("copied out:", b"".join([piece async for piece in data]).decode().split())
        server.kill()
        await server.restart()


async def main() -> None:
    async with postgres_server() as server:
        app = supervisor("app", child("db", partial(PostgresPool, server.url), name=DB))
        async with open_runtime(app):
            await perform(server)


if __name__ == "__main__":
    trio.run(main)
