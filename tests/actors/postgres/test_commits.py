"""A COMMIT without an answer, and what can be found out about it afterwards: never a lie."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.postgres import WAIT, CommitOutcome, CommitUnknown, PoolPolicy, PostgresClient
from resprout.actors.postgres.commits import ServerWord, TransactionId, verdict
from resprout.runtime import OutcomeUnknown
from resprout.testing import BlackHole, Direction, FaultProxy, LocalServer, fault_proxy

if TYPE_CHECKING:
    from tests.actors.postgres.conftest import Keep


@attrs.frozen
class Cut:
    """A client behind a proxy, and one that goes straight to the server."""

    db: PostgresClient
    proxy: FaultProxy
    direct: PostgresClient

    async def lose(self, direction: Direction, *, write: bool = True) -> CommitUnknown:
        """Commit one row and lose COMMIT itself, or its answer."""
        with pytest.raises(CommitUnknown) as caught:
            async with self.db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (1)" if write else "SELECT 1")
                cut = tx._transaction_id

                async def cut_after_the_id(deadline: float) -> TransactionId | None:
                    answer = await cut(deadline)
                    self.proxy.set(BlackHole(), on=direction)
                    return answer

                tx._transaction_id = cut_after_the_id  # type: ignore[method-assign]  # No other way in between.
        return caught.value


@asynccontextmanager
async def cut_off(kept: "Keep", server: LocalServer) -> AsyncIterator[Cut]:
    async with fault_proxy(server.host, server.port) as proxy:
        url = server.url.replace(f":{server.port}", f":{proxy.port}")
        async with kept(url, PoolPolicy(max_size=2)) as it, kept(server.url) as direct:
            look = PostgresClient(direct.gate, on_down=WAIT, timeout=20)
            await look.execute("CREATE TABLE t (id int)")
            yield Cut(PostgresClient(it.gate, timeout=0.4, on_down=WAIT), proxy, look)


@pytest.mark.real
async def test_a_commit_that_ran_and_was_not_answered_is_found_committed(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with cut_off(kept, postgres_server) as cut:
        unknown = await cut.lose(Direction.REPLIES)
        assert await cut.direct.resolve(unknown) is CommitOutcome.COMMITTED
        assert await cut.direct.fetchval("SELECT count(*) FROM t") == 1


@pytest.mark.real
async def test_a_commit_that_never_arrived_is_in_progress_and_then_found_aborted(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with cut_off(kept, postgres_server) as cut:
        unknown = await cut.lose(Direction.BOTH)
        assert await cut.direct.resolve(unknown) is CommitOutcome.IN_PROGRESS
        cut.proxy.reset()
        with trio.fail_after(10):
            while await cut.direct.resolve(unknown) is CommitOutcome.IN_PROGRESS:
                await trio.sleep(0.02)
        assert await cut.direct.resolve(unknown) is CommitOutcome.ABORTED
        assert await cut.direct.fetchval("SELECT count(*) FROM t") == 0


@pytest.mark.real
async def test_a_commit_that_was_durable_is_found_committed_after_a_kill_9(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with cut_off(kept, postgres_server) as cut:
        unknown = await cut.lose(Direction.REPLIES)
        postgres_server.kill()
        await postgres_server.restart()
        assert await cut.direct.resolve(unknown) is CommitOutcome.COMMITTED
        await cut.direct.execute("CHECKPOINT")
        assert await cut.direct.resolve(unknown) is CommitOutcome.UNKNOWN  # Nobody can tell any more.


@pytest.mark.real
async def test_an_id_that_a_crash_gave_to_another_transaction_is_not_taken_for_ours(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with cut_off(kept, postgres_server) as cut:
        await cut.direct.execute("CHECKPOINT")
        unknown = await cut.lose(Direction.BOTH)
        postgres_server.kill()
        await postgres_server.restart()
        assert await cut.direct.resolve(unknown) is CommitOutcome.ABORTED
        for _ in range(3):
            await cut.direct.execute("INSERT INTO t VALUES (2)")
        mine = unknown.transaction
        assert mine is not None
        status = await cut.direct.fetchval("SELECT pg_xact_status($1::text::xid8)", str(mine.xid))
        if status == "committed":  # The server wrote nothing of ours in time, and lies.
            assert await cut.direct.resolve(unknown) is CommitOutcome.UNKNOWN
        else:
            assert await cut.direct.resolve(unknown) is CommitOutcome.ABORTED


@pytest.mark.real
async def test_what_has_no_id_cannot_be_resolved(kept: "Keep", postgres_server: LocalServer) -> None:
    async with cut_off(kept, postgres_server) as cut:
        unknown = await cut.lose(Direction.REPLIES, write=False)
        assert unknown.transaction is None
        assert await cut.direct.resolve(unknown) is CommitOutcome.UNKNOWN
        assert await cut.direct.resolve(OutcomeUnknown("postgres", "a statement")) is CommitOutcome.UNKNOWN


@pytest.mark.real
async def test_a_role_without_rights_keeps_track_of_its_transactions_too(
    kept: "Keep", postgres_server: LocalServer
) -> None:
    async with kept(postgres_server.url) as admin:
        await PostgresClient(admin.gate).execute(
            "CREATE ROLE plain LOGIN; CREATE TABLE t (id int); GRANT ALL ON t TO plain"
        )
        where = postgres_server.url.partition("@")[2]
        async with kept(f"postgresql://plain@{where}") as it:
            db = PostgresClient(it.gate)
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (1)")
                mine = await tx._transaction_id(trio.current_time() + 5)
            unknown = CommitUnknown("postgres", "no answer")
            unknown.transaction = mine
            assert await db.resolve(unknown) is CommitOutcome.COMMITTED


OURS = TransactionId(xid=700, position=1000, timeline="00000001", era="5.5")
LATER = ServerWord(status="committed", timeline="00000001", era="5.5", checkpoint=900, checkpoints=4)


@given(recovered_to=st.integers(900, 1100), gaps=st.lists(st.integers(0, 500), max_size=3))
def test_after_a_crash_committed_is_never_said_of_a_transaction_whose_log_was_lost(
    recovered_to: int, gaps: list[int]
) -> None:
    """The first checkpoint begins where recovery ended, later ones behind it."""
    now = ServerWord(
        status="committed",
        timeline=OURS.timeline,
        era="9.9",
        checkpoint=recovered_to + sum(gaps),
        checkpoints=1 + len(gaps),
    )
    if verdict(OURS, now) is CommitOutcome.COMMITTED:
        assert recovered_to >= OURS.position


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (LATER, CommitOutcome.COMMITTED),
        (attrs.evolve(LATER, status="aborted"), CommitOutcome.ABORTED),
        (attrs.evolve(LATER, status="in progress"), CommitOutcome.IN_PROGRESS),
        (attrs.evolve(LATER, status=None), CommitOutcome.UNKNOWN),
        (attrs.evolve(LATER, timeline="00000002"), CommitOutcome.UNKNOWN),
        (attrs.evolve(LATER, era="9.9", checkpoint=1200, checkpoints=1), CommitOutcome.COMMITTED),
        (attrs.evolve(LATER, era="9.9", checkpoint=900, checkpoints=1), CommitOutcome.UNKNOWN),
        (attrs.evolve(LATER, era="9.9", checkpoint=1200, checkpoints=2), CommitOutcome.UNKNOWN),
    ],
)
def test_what_the_server_says_is_believed_only_as_far_as_it_proves_something(
    now: ServerWord, expected: CommitOutcome
) -> None:
    assert verdict(OURS, now) is expected
