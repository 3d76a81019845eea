"""Fixtures every test can ask for: real servers, each empty and with a port of its own."""

import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from resprout import testing


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in an order drawn from SEED")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """No test may lean on another: any order will do."""
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


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


@pytest.fixture
def passable_tmp_path() -> Iterator[Path]:
    """A directory that other users may pass through.

    Not below pytest's own, which every other run of pytest on this machine closes to all but us again.
    """
    with tempfile.TemporaryDirectory(prefix="passable-") as made:
        directory = Path(made)
        directory.chmod(0o711)
        yield directory
