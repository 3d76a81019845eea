"""Listing what comes in pages. The number of pages is bounded: a cursor that never ends is no reason to hang."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from mcp import Client
from mcp_types import Prompt, Resource, Tool

from resprout.actors.mcp.errors import BadAnswer

MAX_PAGES: Final = 100


class Page(Protocol):
    """One page of a listing."""

    @property
    def next_cursor(self) -> str | None:
        """Where the next page starts; None on the last one."""


P = TypeVar("P", bound=Page)
T = TypeVar("T")


async def all_pages(what: str, fetch: Callable[[str | None], Awaitable[P]]) -> list[P]:
    """Every page of *what*.

    Raises:
        BadAnswer: There are more than 100.
    """
    pages = [await fetch(None)]
    while (cursor := pages[-1].next_cursor) is not None:
        if len(pages) >= MAX_PAGES:
            raise BadAnswer(what, f"it has more than {MAX_PAGES} pages")
        pages.append(await fetch(cursor))
    return pages


async def all_tools(client: Client) -> tuple[Tool, ...]:
    """The tools the server has now."""
    pages = await all_pages("tools/list", lambda cursor: client.list_tools(cursor=cursor))
    return tuple(tool for page in pages for tool in page.tools)


async def all_resources(client: Client) -> tuple[Resource, ...]:
    """The resources the server has now."""
    pages = await all_pages("resources/list", lambda cursor: client.list_resources(cursor=cursor))
    return tuple(resource for page in pages for resource in page.resources)


async def all_prompts(client: Client) -> tuple[Prompt, ...]:
    """The prompts the server has now."""
    pages = await all_pages("prompts/list", lambda cursor: client.list_prompts(cursor=cursor))
    return tuple(prompt for page in pages for prompt in page.prompts)
