"""Fixtures for pytest with pytest-trio: say ``pytest_plugins = ["resprout.testing.fixtures"]`` in ``conftest.py``.

Define a fixture `tree`; a test that asks for `runtime` and `autojump_clock` finds it running, on virtual time.
(pytest-trio sees a clock only if the test itself asks for it.) Importing this module needs pytest and
pytest-trio, and nothing else in `resprout.testing` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from resprout import testing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resprout.runtime import Recipe, System


@pytest.fixture
def tree() -> Recipe:
    """The tree under test: override this with a fixture of your own."""
    raise pytest.UsageError(
        "the fixture `runtime` runs the tree of a fixture `tree`; define one that returns it"
    )


@pytest.fixture
async def runtime(tree: Recipe) -> AsyncIterator[System]:
    """*tree*, running on virtual time for the length of the test."""
    async with testing.runtime(tree) as opened:
        yield opened


@pytest.fixture
def events(runtime: System) -> testing.EventRecorder:
    """What has happened in `runtime` since it started."""
    recorder = testing.recorder_of(runtime)
    assert recorder is not None, "the fixture `runtime` records"
    return recorder
