"""Messages to WebSocket clients: stored, delivered in order, acknowledged, never silently given up."""

try:
    import trio_websocket as _trio_websocket  # noqa: F401 - only to name the extra if it is missing.
except ModuleNotFoundError as _error:
    raise ImportError(
        "resprout.actors.websocket needs trio-websocket: pip install 'resprout[web]'"
    ) from _error

from resprout.actors.websocket.acceptor import Identity, ServerPolicy, TokenRefused, Verifier
from resprout.actors.websocket.admission import Admission
from resprout.actors.websocket.client import Client, ClientPolicy, Superseded, connect
from resprout.actors.websocket.delivery import DeliveryPolicy
from resprout.actors.websocket.errors import ConservationBroken, QueueFull, StreamChanged
from resprout.actors.websocket.events import (
    ConnectionBroken,
    ConnectionRefused,
    LawBroken,
    MessageDied,
    MessageFailed,
    ServerListening,
    SessionEnded,
    SessionStarted,
    StoreAway,
    StoreWeak,
    StreamReset,
)
from resprout.actors.websocket.hub import QueuePolicy
from resprout.actors.websocket.law import Counts, check_conservation
from resprout.actors.websocket.memory import MemoryPolicy
from resprout.actors.websocket.memory_store import MemoryStore
from resprout.actors.websocket.queue import MessageQueue, QueueClient
from resprout.actors.websocket.rate import RateLimit
from resprout.actors.websocket.receiver import Delivery, Item, Lost, Restarted
from resprout.actors.websocket.redis_store import RedisStore
from resprout.actors.websocket.resume import Position
from resprout.actors.websocket.server import ClientSession, ListenFailed, Listening, WebSocketServer
from resprout.actors.websocket.session import SessionPolicy
from resprout.actors.websocket.store import DeadLetter, Failure, NewMessage, Store, Stored

__all__ = [
    "Admission",
    "Client",
    "ClientPolicy",
    "ClientSession",
    "ConnectionBroken",
    "ConnectionRefused",
    "ConservationBroken",
    "Counts",
    "DeadLetter",
    "Delivery",
    "DeliveryPolicy",
    "Failure",
    "Identity",
    "Item",
    "LawBroken",
    "ListenFailed",
    "Listening",
    "Lost",
    "MemoryPolicy",
    "MemoryStore",
    "MessageDied",
    "MessageFailed",
    "MessageQueue",
    "NewMessage",
    "Position",
    "QueueClient",
    "QueueFull",
    "QueuePolicy",
    "RateLimit",
    "RedisStore",
    "Restarted",
    "ServerListening",
    "ServerPolicy",
    "SessionEnded",
    "SessionPolicy",
    "SessionStarted",
    "Store",
    "StoreAway",
    "StoreWeak",
    "Stored",
    "StreamChanged",
    "StreamReset",
    "Superseded",
    "TokenRefused",
    "Verifier",
    "WebSocketServer",
    "check_conservation",
    "connect",
]
