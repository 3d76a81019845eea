"""Directories for servers that run as another user."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """As `tmp_path`, but other users may pass through."""
    path = Path(tempfile.mkdtemp(prefix="resprout-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)
