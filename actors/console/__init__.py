"""Looking into a running tree over a Unix socket: the server, its protocol, and the client's side of it."""

from resprout.actors.console.client import (
    CutOffError,
    NoRuntimeError,
    find_socket,
    request,
    request_info,
    request_restart,
    request_tree,
)
from resprout.actors.console.listen import ConsoleTakenError
from resprout.actors.console.paths import ConsolePathError, console_directory, socket_path
from resprout.actors.console.render import render_info, render_tree
from resprout.actors.console.server import ConsoleOpened, ConsoleServer, ConsoleUnavailable, Listening
from resprout.actors.console.verbs import Info, Letter, Restarted
from resprout.actors.console.wire import Code, RequestError, Verb

__all__ = [
    "Code",
    "ConsoleOpened",
    "ConsolePathError",
    "ConsoleServer",
    "ConsoleTakenError",
    "ConsoleUnavailable",
    "CutOffError",
    "Info",
    "Letter",
    "Listening",
    "NoRuntimeError",
    "RequestError",
    "Restarted",
    "Verb",
    "console_directory",
    "find_socket",
    "render_info",
    "render_tree",
    "request",
    "request_info",
    "request_restart",
    "request_tree",
    "socket_path",
]
