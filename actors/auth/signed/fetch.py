"""Getting a small document by HTTPS from a server that may be slow, broken or hostile.

Nothing that the server says makes us do more than read a bounded body: redirects are not followed, compressed
bodies are refused, and the time is the caller's trio deadline.
"""

import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

import httpx2

from resprout.runtime.errors import ResproutError

HEADERS: Final = {
    "accept": "application/jwk-set+json, application/json",
    "accept-encoding": "identity",
    "user-agent": "resprout",
}


class FetchRefused(ResproutError):
    """The server answered with something that is not read: another status, too long, or compressed."""


def check_url(url: str) -> str:
    """Return *url* if it may be fetched.

    Raises:
        ValueError: It is not ``https``, or has a password in it. Plain ``http`` is for this machine only.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"not a URL: {error}") from error
    if parsed.userinfo:
        raise ValueError("the URL of a key set must have no user or password: key sets are public")
    if not parsed.host or not (
        parsed.scheme == "https" or (parsed.scheme == "http" and _is_local(parsed.host))
    ):
        raise ValueError(
            f"the URL of a key set must begin with https://, not {url!r}: keys decide who may enter"
        )
    return url


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def context_for(url: str) -> ssl.SSLContext:
    """What verifies the server's certificate. Reading the system's takes some 20 ms, so make it once."""
    if httpx2.URL(url).scheme == "https":
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Trusts nobody; plain HTTP does not ask it.


def make_client(context: ssl.SSLContext) -> httpx2.AsyncClient:
    """A client that verifies certificates, looks names up anew each time, and heeds no environment variables."""
    return httpx2.AsyncClient(
        verify=context,
        headers=HEADERS,
        limits=httpx2.Limits(max_connections=4, max_keepalive_connections=0),
        timeout=None,
        follow_redirects=False,
        trust_env=False,
    )


async def fetch(client: httpx2.AsyncClient, url: str, max_bytes: int) -> bytes:
    """The body at *url*.

    Raises:
        FetchRefused: The answer is not a plain body of at most *max_bytes*.
        OSError: The server could not be reached, its certificate is wrong, or it broke off.
    """
    try:
        async with client.stream("GET", url) as response:
            _check(response, max_bytes)
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > max_bytes:
                    raise FetchRefused(f"the body has more than {max_bytes} bytes")
            return bytes(body)
    except httpx2.HTTPError as error:
        raise _reason(error) from error


def _check(response: httpx2.Response, max_bytes: int) -> None:
    if response.is_redirect:
        where = response.headers.get("location", "")[:200]
        raise FetchRefused(
            f"it redirects to {where!r}, which is not followed; if that is right, use that URL"
        )
    if response.status_code != 200:
        raise FetchRefused(f"it answered with status {response.status_code}")
    if (encoding := response.headers.get("content-encoding", "identity").lower()) != "identity":
        raise FetchRefused(f"the body is {encoding[:40]!r}, though it was asked for as it is")
    length = response.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > max_bytes:
        raise FetchRefused(f"the body has {length[:20]} bytes; more than {max_bytes} are not read")


def _reason(error: httpx2.HTTPError) -> OSError:
    """What lies behind *error*: a wrong certificate or an unknown name needs a human, and must be told apart."""
    if isinstance(error, httpx2.TimeoutException):
        return TimeoutError(str(error))
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError | socket.gaierror):
            return cause
    return ConnectionError(f"{type(error).__name__}: {error}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(20):  # A bound, since chains can be circular.
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__
