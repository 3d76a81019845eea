"""Which of redis-py's errors, and ours, need a human."""

from redis.exceptions import AuthenticationError, AuthorizationError, InvalidResponse, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resprout.actors.connection.failure_kind import FailureKind, failure_kind
from resprout.actors.redis.slot import NoReply, ProtocolViolation, ReplyOverdue, ServerClosed

for _kind, _classes in (
    (FailureKind.AUTH, (AuthenticationError, AuthorizationError, NoPermissionError)),
    (FailureKind.PROTOCOL, (InvalidResponse, ProtocolViolation)),
    (FailureKind.TIMEOUT, (RedisTimeoutError, ReplyOverdue)),
    (FailureKind.NETWORK, (ServerClosed,)),
    (FailureKind.SERVICE, (RedisConnectionError,)),  # LOADING, "max number of clients reached".
):
    for _class in _classes:
        failure_kind.register(_class, lambda _error, kind=_kind: kind)


@failure_kind.register
def _why_no_reply(error: NoReply) -> FailureKind:
    return failure_kind(error.why)
