"""Hides what sounds like a secret: by the name of a field, and by names inside of a value's text.

Text is looked at and not the value: that sees what a class shows in its own `__repr__`, however deep, and nothing
it hides. Where it is in doubt it hides more.
"""

from __future__ import annotations

import re

MASK = "***"
LONGEST_LOOKED_AT = 2_000  # Characters.
_WORDS = "pass|secret|token|credential|auth|cookie|private|api_?key|dsn|pwd"
_SECRET = re.compile(_WORDS, re.IGNORECASE)
# The end of a name and what stands before its value: `password=`, `'api_key': `, or `('cookie', ` of a pair.
_NAMED = re.compile(rf"(?:{_WORDS})[\w-]*(?:['\"]?\s*[=:]\s*|['\"]\s*,\s*)", re.IGNORECASE)


def sounds_secret(name: str) -> bool:
    """Whether the value of a field of this *name* should not be shown."""
    return _SECRET.search(name) is not None


def masked(text: str) -> str:
    """*text*, the first `LONGEST_LOOKED_AT` characters of it, without values whose names sound secret.

    >>> masked("Login(user='ann', password='hunter2, or 3', hosts=[{'token': [1, 2], 'port': 80}])")
    "Login(user='ann', password=***, hosts=[{'token': ***, 'port': 80}])"
    """
    text, parts, at = text[:LONGEST_LOOKED_AT], list[str](), 0
    while (name := _NAMED.search(text, at)) is not None:
        parts += text[at : name.end()], MASK
        at = _end_of_value(text, name.end())
    return "".join([*parts, text[at:]])


def _end_of_value(text: str, start: int) -> int:
    """Where the comma or bracket stands that ends the value at *start*."""
    depth, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}," and not depth:
            return at
        elif char in ")]}":
            depth -= 1
        at += 1
    return len(text)
