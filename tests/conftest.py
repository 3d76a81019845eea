"""Fixtures every test can ask for: real servers, each empty and with a port of its own."""

from collections.abc import AsyncIterator

import pytest

from resprout import testing


@pytest.fixture
async def redis_server() -> AsyncIterator[testing.LocalServer]:
    """A real Redis (Valkey) on the loopback interface."""
    async with testing.redis_server() as server:
        yield server


@pytest.fixture
async def postgres_server() -> AsyncIterator[testing.LocalServer]:
    """A real Postgres on the loopback interface."""
    async with testing.postgres_server() as server:
        yield server
