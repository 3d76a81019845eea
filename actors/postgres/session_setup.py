"""What every new connection gets before anybody uses it: codecs and settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class TypeCodec:
    """How values of one type of Postgres become Python's and back, as in asyncpg's ``set_type_codec``.

    >>> import json
    >>> TypeCodec(type="jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads).format
    'text'

    Attributes:
        type: Its name, such as ``jsonb``; it must exist when a connection is opened.
        schema: Where it is; ``pg_catalog`` for those Postgres brings along.
        encoder: Python's value to what *format* says.
        decoder: The other way.
        format: ``text`` for str, ``binary`` for bytes, ``tuple`` for asyncpg's own middle form.
    """

    type: str
    encoder: Callable[..., object]
    decoder: Callable[..., object]
    schema: str = "public"
    format: Literal["text", "binary", "tuple"] = "text"


def settings_of(settings: Mapping[str, str], statement_timeout: float | None) -> dict[str, str]:
    """What the server is told as a connection begins: *settings*, and *statement_timeout* in its own unit.

    >>> settings_of({"search_path": "app"}, 2.5)
    {'search_path': 'app', 'statement_timeout': '2500'}

    Raises:
        ValueError: *statement_timeout* is no positive number of seconds, or given twice.
    """
    if statement_timeout is None:
        return dict(settings)
    if not (0 < statement_timeout < math.inf):
        raise ValueError(f"statement_timeout must be a positive number of seconds, not {statement_timeout}")
    if "statement_timeout" in settings:
        raise ValueError("statement_timeout is also in server_settings; give it once")
    return {**settings, "statement_timeout": str(max(1, round(statement_timeout * 1000)))}


@attrs.frozen
class SessionSetup:
    """*settings* go with the login, so that a reset of the connection brings them back; then *codecs*."""

    codecs: Sequence[TypeCodec] = ()
    settings: Mapping[str, str] = attrs.field(factory=dict)
