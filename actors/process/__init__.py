"""Processes of the operating system as actors: embedded servers, and any other command that serves a port."""

from resprout.actors.process.actor import (
    ProcessEnded,
    ProcessInfo,
    ServerProcess,
    default_directory,
    server_child,
)
from resprout.actors.process.binaries import BinaryMissing, Program, Wheel
from resprout.actors.process.events import (
    LeftoverKilled,
    ProcessEvent,
    ProcessExited,
    ProcessReady,
    ProcessStopped,
)
from resprout.actors.process.launch import Endpoint, NotRunning, Server, ServerStartFailed
from resprout.actors.process.place import PlaceBusy
from resprout.actors.process.ports import free_port
from resprout.actors.process.ready import (
    HttpAnswers,
    PortOpen,
    PostgresAnswers,
    Readiness,
    RedisAnswers,
    Runs,
)
from resprout.actors.process.recipes import Prepare, ServerRecipe, command, postgres, redis
from resprout.actors.process.users import UserError

__all__ = [
    "BinaryMissing",
    "Endpoint",
    "HttpAnswers",
    "LeftoverKilled",
    "NotRunning",
    "PlaceBusy",
    "PortOpen",
    "PostgresAnswers",
    "Prepare",
    "ProcessEnded",
    "ProcessEvent",
    "ProcessExited",
    "ProcessInfo",
    "ProcessReady",
    "ProcessStopped",
    "Program",
    "Readiness",
    "RedisAnswers",
    "Runs",
    "Server",
    "ServerProcess",
    "ServerRecipe",
    "ServerStartFailed",
    "UserError",
    "Wheel",
    "command",
    "default_directory",
    "free_port",
    "postgres",
    "redis",
    "server_child",
]
