"""What kind of failure an error is: a few fixed values, for alerts and metrics.

A driver teaches its own errors, most specific class first served:

    failure_kind.register(SMTPAuthenticationError, lambda error: FailureKind.AUTH)
"""

import enum
import socket
import ssl
from functools import singledispatch

import trio

from resprout.runtime.classify import leaves


class FailureKind(enum.Enum):
    """What kind of failure: a few fixed values, so that it can be a metric's label.

    NAME, TLS, AUTH and PROTOCOL seldom go away by themselves (a wrong host, certificate or password, a peer that
    is something else): tell a human at once. The connection tries on all the same.
    """

    NETWORK = "network"
    TIMEOUT = "timeout"
    NAME = "name"
    TLS = "tls"
    AUTH = "auth"
    PROTOCOL = "protocol"
    SERVICE = "service"
    """Whatever else: the service answered, and would not serve."""

    @property
    def needs_a_human(self) -> bool:
        """Whether waiting alone is unlikely to help."""
        return self in (FailureKind.NAME, FailureKind.TLS, FailureKind.AUTH, FailureKind.PROTOCOL)


@singledispatch
def failure_kind(error: BaseException) -> FailureKind:
    """The kind of one error, by its class. Register a function for classes of your own."""
    return FailureKind.SERVICE


def kind_of(error: BaseException) -> FailureKind:
    """Classify why an attempt failed; a group by its first leaf.

    >>> kind_of(ConnectionRefusedError()).value, kind_of(socket.gaierror()).value
    ('network', 'name')
    """
    return failure_kind(next(leaves(error)))


for _kind, _classes in (
    # A peer that goes away in the middle of TLS has nothing wrong with its certificate.
    (
        FailureKind.NETWORK,
        (
            OSError,
            EOFError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            ssl.SSLEOFError,
            ssl.SSLZeroReturnError,
        ),
    ),
    (FailureKind.TIMEOUT, (TimeoutError, trio.TooSlowError)),
    (FailureKind.NAME, (socket.gaierror,)),
    (FailureKind.TLS, (ssl.SSLError,)),
):
    for _class in _classes:
        failure_kind.register(_class, lambda _error, kind=_kind: kind)
