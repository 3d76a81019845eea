"""A server counts as ready only after a good answer in its own protocol."""

import pytest
import trio

from resprout.actors.process import HttpAnswers, PortOpen, PostgresAnswers, RedisAnswers
from resprout.actors.process.ready import Question, answers

AUTHENTICATION_OK = b"R\0\0\0\x08\0\0\0\0"
STARTING_UP = b"E\0\0\0\x20SFATAL\0C57P03\0Mstarting up\0\0"


async def asked(question: Question, reply: bytes) -> bool:
    """What *question* makes of a server that reads a request, sends *reply* and closes."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(reply)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        ready = await answers(question, "127.0.0.1", listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()
    return ready


@pytest.mark.parametrize(
    ("question", "reply", "ready"),
    [
        (RedisAnswers(), b"+PONG\r\n", True),
        (RedisAnswers(), b"-NOAUTH Authentication required.\r\n", True),
        (RedisAnswers(), b"-LOADING Redis is loading the dataset in memory\r\n", False),
        (RedisAnswers(), b"", False),
        (PostgresAnswers(), AUTHENTICATION_OK, True),
        (PostgresAnswers(), STARTING_UP, False),
        (PostgresAnswers(), b"", False),
        (HttpAnswers(), b"HTTP/1.1 404 Not Found\r\n\r\n", True),
        (HttpAnswers(), b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (HttpAnswers(), b"SSH-2.0-OpenSSH\r\n", False),
        (PortOpen(), b"", True),
    ],
)
async def test_an_answer_is_judged_by_its_protocol(question: Question, reply: bytes, ready: bool) -> None:
    assert await asked(question, reply) is ready


async def test_a_refused_connection_is_not_ready() -> None:
    assert not await answers(PortOpen(), "127.0.0.1", 1)
