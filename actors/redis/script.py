"""Lua scripts: sent by their hash, and as a whole to a server that does not know them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import trio
from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.typing import EncodableT, KeyT

    from resprout.actors.redis.catalogue import Catalogue


class RedisScript:
    """Made by ``redis.register_script(text)``: ``await script(keys=["a"], args=[1])``.

    A server forgets scripts: when it starts, after a failover, on ``SCRIPT FLUSH``. Then the whole text is sent,
    within the same deadline. In a pipeline it always is, because there nothing can be sent again.

    Attributes:
        text: In Lua.
        sha: What the server calls it.
    """

    def __init__(self, client: Catalogue, text: str | bytes) -> None:
        self._client, self.text = client, text
        raw = text.encode() if isinstance(text, str) else text
        self.sha = hashlib.sha1(raw, usedforsecurity=False).hexdigest()

    async def __call__(
        self,
        keys: Iterable[KeyT] = (),
        args: Iterable[EncodableT] = (),
        client: Catalogue | None = None,
    ) -> Any:
        """Run it, or add it if *client* is a pipeline.

        Args:
            keys: All keys it touches.
            args: Its other arguments.
            client: Where to run it instead: another client, a pipeline or a transaction.

        Returns:
            What the script returns; of a pipeline, the pipeline.
        """
        client = self._client if client is None else client  # An empty pipeline is falsy.
        keys = tuple(keys)
        rest = (len(keys), *keys, *args)
        if client.collects:
            return client.execute_command("EVAL", self.text, *rest)
        began = trio.current_time()
        try:
            return await client.execute_command("EVALSHA", self.sha, *rest)
        except NoScriptError:
            hurried = client.hurried(trio.current_time() - began)
            return await hurried.execute_command("EVAL", self.text, *rest)
