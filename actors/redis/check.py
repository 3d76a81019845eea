"""Whether a link leads to a server that answers, and to the right one. One that does not is closed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from resprout.actors.redis.resp import pack
from resprout.actors.redis.slot import ProtocolViolation

if TYPE_CHECKING:
    from resprout.actors.redis.link import RedisLink


async def check_echo(link: RedisLink, before: bytes = b"") -> None:
    """One round trip with a random word, which the server must echo.

    Args:
        link: The link.
        before: Commands that are answered by push messages only, sent in front of it. A refusal of theirs is
            an answer more than was asked for, and closes the link, too.

    Raises:
        ProtocolViolation: It sent something else.
        NoReply: It sent nothing.
        redis.exceptions.RedisError: It refused.
    """
    word = secrets.token_hex(8).encode()
    if await link.call(before + pack(("PING", word)), link.limits.reply_timeout) != word:
        error = ProtocolViolation("the server did not echo the word of the probe")
        link.abort(error)
        raise error


async def check_role(link: RedisLink) -> None:
    """Whether the server is a master, as a connection found by Sentinel must be.

    Raises:
        ConnectionError: It is none.
        NoReply: It did not say.
    """
    match await link.call(pack(("ROLE",)), link.limits.reply_timeout):
        case [b"master", *_]:
            return
        case _:
            error = ConnectionError("the server is no master any more")
            link.abort(error)
            raise error
