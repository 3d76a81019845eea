"""Servers that cannot be used at all, whatever one does here."""

from redis.exceptions import ConnectionError as RedisConnectionError


class ClusterRefused(RedisConnectionError):
    """The server is a node of a Redis Cluster. It ran nothing; callers see this as the cause of `Unavailable`."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"the server belongs to a Redis Cluster ({said}), which needs a connection to each of its nodes: use a"
            " server with cluster-enabled no, or Sentinel (redis+sentinel://), or a proxy for clusters in between"
        )
