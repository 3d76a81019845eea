"""trio's own dice under a seed. All that leans on private names of trio stands here, pinned by its tests."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trio._core import _run as trio_run

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let *seed* decide in which order trio runs the tasks of each batch, for a `trio.run` in the block."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = True, random.Random(seed)  # type: ignore[misc]  # final
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before  # type: ignore[misc]  # final there
