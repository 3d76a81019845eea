"""Who is who in the chat: constants that any part of the application may hold."""

from resprout import Name
from resprout.actors.auth import Authenticator
from resprout.actors.mcp import McpConnection
from resprout.actors.monitor import HealthMonitor
from resprout.actors.postgres import PostgresPool
from resprout.actors.process import ServerProcess
from resprout.actors.redis import RedisConnection
from resprout.actors.websocket import MessageQueue, WebSocketServer

REDIS_SERVER = Name(ServerProcess, "redis-server")
POSTGRES_SERVER = Name(ServerProcess, "postgres-server")
REDIS = Name(RedisConnection, "redis")
POSTGRES = Name(PostgresPool, "postgres")
TOOLS = Name(McpConnection, "tools")
AUTH: Name[Authenticator[str]] = Name(Authenticator, "auth")
QUEUE = Name(MessageQueue, "queue")
LIVE = Name(WebSocketServer, "live")
MONITOR = Name(HealthMonitor, "monitor")
