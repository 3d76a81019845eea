"""Connections that never fail for good: the state machine, the keeper that drives it, the gate clients hold."""

from resprout.actors.connection.actor import Connection, ConnectionStuckError, Status
from resprout.actors.connection.base_link import BaseLink, Sharing
from resprout.actors.connection.client import LinkClient
from resprout.actors.connection.dial import certificate_expiry, dial, dial_tls, is_silent, tune
from resprout.actors.connection.events import (
    AttemptFailed,
    ConnectionChanged,
    ConnectionEvent,
    LinkLost,
    LinkReplaced,
    ProbeMissed,
    Recovered,
    RotationFailed,
)
from resprout.actors.connection.failure_kind import FailureKind, failure_kind
from resprout.actors.connection.gate import Gate
from resprout.actors.connection.keeper import Connect, Keeper
from resprout.actors.connection.link import Drainable, Link
from resprout.actors.connection.on_down import FAIL_FAST, WAIT, OnDown
from resprout.actors.connection.policy import KeeperPolicy
from resprout.actors.connection.states import (
    BackingOff,
    Connecting,
    ConnectionState,
    Degraded,
    Draining,
    Ready,
    Stopped,
)

__all__ = [
    "FAIL_FAST",
    "WAIT",
    "AttemptFailed",
    "BackingOff",
    "BaseLink",
    "Connect",
    "Connecting",
    "Connection",
    "ConnectionChanged",
    "ConnectionEvent",
    "ConnectionState",
    "ConnectionStuckError",
    "Degraded",
    "Drainable",
    "Draining",
    "FailureKind",
    "Gate",
    "Keeper",
    "KeeperPolicy",
    "Link",
    "LinkClient",
    "LinkLost",
    "LinkReplaced",
    "OnDown",
    "ProbeMissed",
    "Ready",
    "Recovered",
    "RotationFailed",
    "Sharing",
    "Status",
    "Stopped",
    "certificate_expiry",
    "dial",
    "dial_tls",
    "failure_kind",
    "is_silent",
    "tune",
]
