"""How many connections the operating system lets us promise."""

import resource

import pytest

from resprout.actors.websocket.admission import Admission, affordable


@pytest.mark.parametrize(
    ("files", "wanted", "allowed"),
    [(1024, 10_000, 768), (1024, 100, 100), (100_000, 10_000, 10_000), (resource.RLIM_INFINITY, 7, 7)],
)
def test_clients_leave_files_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, files: int, wanted: int, allowed: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))
    assert affordable(Admission(hosts=(), max_connections=wanted)).max_connections == allowed
