"""What a caller is told, over every case there is."""

import itertools

import pytest

from resprout.actors.postgres.driver import ConnectionLost, StatementTimeout
from resprout.actors.postgres.outcomes import after_loss, after_timeout, can_commit
from resprout.runtime import DeadlineExceeded, OutcomeUnknown, Phase, Sent, Unavailable

CASES = list(itertools.product(Sent, (False, True), (False, True)))


@pytest.mark.parametrize(("sent", "idempotent", "undone"), CASES)
def test_an_outcome_is_unknown_exactly_when_something_may_have_been_done_for_good(
    sent: Sent, idempotent: bool, undone: bool
) -> None:
    cause = ConnectionResetError("reset")
    lost = after_loss("db", ConnectionLost(sent, cause), idempotent=idempotent, undone=undone)
    late = after_timeout("db", StatementTimeout(sent), idempotent=idempotent, undone=undone)
    unknown = sent is not Sent.NO and not idempotent and not undone
    assert type(lost) is (OutcomeUnknown if unknown else Unavailable)
    assert type(late) is (OutcomeUnknown if unknown else DeadlineExceeded)
    assert (lost.sent, lost.cause, lost.service) == (sent, cause, "db")
    assert late.sent is sent
    if isinstance(late, DeadlineExceeded):
        assert late.phase is (Phase.WRITE if sent is Sent.NO else Phase.READ)


@pytest.mark.parametrize(
    ("sql", "can"),
    [
        ("INSERT INTO t VALUES (1)", False),
        ("UPDATE t SET committed = true", False),
        ("SELECT legend FROM t", False),
        ("commit", True),
        ("INSERT INTO t VALUES (1);\nCOMMIT;", True),
        ("END", True),
        ("PREPARE TRANSACTION 'x'", True),
    ],
)
def test_only_a_statement_that_names_a_commit_can_commit(sql: str, can: bool) -> None:
    assert can_commit(sql) is can
