"""What the chat does: rooms, an assistant, and a word count that nobody depends on."""

from collections import Counter

import attrs
from mcp_types import TextContent

from examples.chat.names import AUTH, POSTGRES, QUEUE, TOOLS
from resprout import Actor, Name
from resprout.actors.auth import AuthClient
from resprout.actors.mcp import McpClient
from resprout.actors.postgres import PostgresClient
from resprout.actors.websocket import QueueClient

SCHEMA = """
    CREATE TABLE IF NOT EXISTS members (room text, member text, PRIMARY KEY (room, member));
    CREATE TABLE IF NOT EXISTS messages (
        id text PRIMARY KEY, room text NOT NULL, author text NOT NULL, body text NOT NULL,
        at timestamptz NOT NULL DEFAULT now()
    );
"""


@attrs.define
class Rooms(Actor):
    """Takes messages: first into Postgres, then into the queue of every member of the room.

    Both steps know the message by the id its author gave it, so an author who got no answer sends it again.
    """

    auth: AuthClient[str] = attrs.field(factory=lambda: AuthClient(AUTH))
    database: PostgresClient = attrs.field(factory=lambda: PostgresClient(POSTGRES, timeout=2.0))
    queue: QueueClient = attrs.field(factory=lambda: QueueClient(QUEUE))

    async def join(self, token: str, room: str) -> None:
        """Make the owner of *token* a member of *room*."""
        member = await self.auth.verify(token)
        await self.database.execute(SCHEMA)
        await self.database.execute(
            "INSERT INTO members VALUES ($1, $2) ON CONFLICT DO NOTHING", room, member, idempotent=True
        )

    async def post(self, token: str, room: str, id: str, body: str) -> int:
        """Accept a message; returns how many members will get it. Safe to repeat with the same *id*."""
        author = await self.auth.verify(token)
        await self.database.execute(
            "INSERT INTO messages (id, room, author, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            *(id, room, author, body),
            idempotent=True,
        )
        rows = await self.database.fetch("SELECT member FROM members WHERE room = $1", room)
        for row in rows:
            await self.queue.enqueue(row["member"], {"author": author, "body": body, "id": id}, id=id)
        return len(rows)


@attrs.define
class Assistant(Actor):
    """Answers questions with a tool of an MCP server."""

    tools: McpClient = attrs.field(factory=lambda: McpClient(TOOLS))

    async def ask(self, question: str) -> str:
        """The tool's answer to *question*."""
        result = await self.tools.call_tool("answer", {"question": question}, timeout=3.0)
        return " ".join(part.text for part in result.content if isinstance(part, TextContent))


@attrs.define
class Trending(Actor):
    """Counts words; forgets them when it restarts, which is fine for what is in fashion."""

    words: Counter[str] = attrs.field(factory=Counter)

    async def count(self, body: str) -> None:
        """Take note of the words of a message."""
        self.words.update(body.lower().split())

    async def top(self, number: int = 3) -> list[str]:
        """The words used most."""
        return [word for word, _ in self.words.most_common(number)]


ROOMS = Name(Rooms, "rooms")
ASSISTANT = Name(Assistant, "assistant")
TRENDING = Name(Trending, "trending")
