"""redis-py's command methods, and what they ask of the object they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from redis.commands import AsyncCoreCommands, AsyncRedisModuleCommands
from redis.commands.core import BitFieldOperation
from redis.event import EventDispatcher

from resprout.actors.redis.script import RedisScript

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from redis.typing import KeyT, ScriptTextT

    from resprout.actors.redis.known import Vocabulary


class Catalogue(AsyncRedisModuleCommands, AsyncCoreCommands):  # type: ignore[misc]  # They disagree on command_info.
    """Every method ends in ``execute_command``, which the class that derives from this one provides."""

    _is_async_client: Literal[True] = True  # By this redis-py's types choose the async results.
    _event_dispatcher = EventDispatcher()  # Asked for by their type, used by none of the commands.

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    @property
    def response_callbacks(self) -> MutableMapping[str, Callable[..., object]]:
        """redis-py's functions that shape replies, by command name."""
        return self._vocabulary.shapes

    def set_response_callback(self, command: str, callback: Callable[..., object]) -> None:
        """Shape the replies of *command* with *callback*; shared with clients made by `using`."""
        self._vocabulary.shapes[command] = callback
        self._vocabulary.forget()

    def get_encoder(self) -> object:
        """redis-py's encoder of arguments."""
        return self._vocabulary.encoder

    def get_connection_kwargs(self) -> dict[str, object]:
        """The settings redis-py's commands look at."""
        return {"decode_responses": self._vocabulary.decode}

    collects: ClassVar[bool] = False
    """Whether commands are collected for later, and not run at once."""

    def hurried(self, seconds: float) -> Catalogue:
        """The same, for a call that has used up *seconds* of its time already."""
        return self

    def register_script(self, script: ScriptTextT) -> RedisScript:  # type: ignore[override]  # Ours, on trio.
        """A Lua script to call: ``await script(keys=[...], args=[...])``."""
        text = script if isinstance(script, str) else bytes(script)
        return RedisScript(self, text)  # pyright: ignore[reportArgumentType]  # It doubts that Self is a Catalogue.

    def bitfield(self, key: KeyT, default_overflow: str | None = None) -> BitFieldOperation:
        """Collect operations on the bits of *key*, then ``await`` its ``execute()``."""
        return BitFieldOperation(self, key, default_overflow=default_overflow)  # type: ignore[arg-type]  # As above.
