"""Which of asyncpg's errors need a human."""

import asyncpg

from resprout.actors.connection.failure_kind import FailureKind, failure_kind

for _kind, _classes in (
    (FailureKind.AUTH, (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError)),
    (FailureKind.PROTOCOL, (asyncpg.ProtocolViolationError, asyncpg.InternalClientError)),
):
    for _class in _classes:
        failure_kind.register(_class, lambda _error, kind=_kind: kind)
