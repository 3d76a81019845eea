"""Redis URLs."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.redis.endpoint import Endpoint, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Endpoint()),
        ("redis://cache", Endpoint(host="cache")),
        ("redis://cache:7000/3", Endpoint(host="cache", port=7000, db=3)),
        ("redis://cache?db=3", Endpoint(host="cache", db=3)),
        ("redis://:p%40ss@cache", Endpoint(host="cache", password="p@ss")),
        ("redis://bob:pw@[::1]:7000/1", Endpoint("::1", 7000, None, 1, "bob", "pw")),
        ("rediss://cache", Endpoint(host="cache", tls=True)),
        ("rediss://cache/1?ca_file=/etc/ca.pem", Endpoint("cache", db=1, tls=True, ca_file="/etc/ca.pem")),
        ("unix:///run/redis.sock", Endpoint(path="/run/redis.sock")),
        ("unix://:pw@/run/redis.sock?db=2", Endpoint(path="/run/redis.sock", db=2, password="pw")),
    ],
)
def test_urls_are_read(url: str, expected: Endpoint) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cache:6379", "scheme"),
        ("http://cache", "scheme"),
        ("redis://cache:0", "port"),
        ("redis://cache:99999", "port"),
        ("redis://cache:port", "port"),
        ("redis://cache/one", "database"),
        ("redis://cache/-1", "database"),
        ("redis://cache/1?db=2", "twice"),
        ("redis://cache?timeout=3", "option"),
        ("redis://cache?ca_file=x", "option"),
        ("redis://bob@cache", "password"),
        ("redis://[::1", "cannot be read"),
        ("redis://cache#1", "fragment"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix://", "absolute path"),
    ],
)
def test_wrong_urls_are_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(ValueError, match="wrong Redis URL") as caught:
        parse_url(url)
    assert says in str(caught.value)


SECRET = "s3cret"


@given(st.text("abc:/?#@[]%&= \u2100", max_size=12), st.text("abc:/?#@[]%&= \u2100", max_size=12))
def test_no_password_is_ever_shown(before: str, after: str) -> None:
    url = f"redis://user:{before}{SECRET}{after}@cache"
    shown = []
    try:
        endpoint = parse_url(url)
    except ValueError as error:
        shown = [str(error), "" if error.__suppress_context__ else "context"]
    else:  # An unquoted '@' or '/' may move a part of the password into the host: nobody can know.
        shown = [text for text in (repr(endpoint), str(endpoint)) if SECRET not in endpoint.host]
    assert not any(SECRET in text for text in shown)
    assert "context" not in shown


@given(st.text(min_size=1), st.integers(1, 65535), st.integers(0, 99))
def test_any_password_survives_percent_encoding(password: str, port: int, db: int) -> None:
    encoded = quote(password.encode("utf-8", "ignore"), safe="")
    endpoint = parse_url(f"redis://:{encoded}@cache:{port}/{db}")
    assert endpoint.password == password.encode("utf-8", "ignore").decode()
    assert (endpoint.port, endpoint.db) == (port, db)
