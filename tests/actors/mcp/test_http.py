"""What HTTP's answers mean."""

import socket
import ssl

import httpx2
import pytest

from resprout.actors.mcp.errors import CredentialsRefused, SessionLost
from resprout.actors.mcp.http import in_our_words, is_notification, judge
from resprout.runtime.errors import Sent


def test_a_session_the_server_does_not_know_is_over_and_the_request_did_not_run() -> None:
    verdict = judge(404, in_session=True, answers_in_json=True)
    assert verdict is not None
    assert verdict.session_lost
    assert verdict.sent is Sent.NO


@pytest.mark.parametrize("status", [200, 202, 301, 400, 404, 405])
def test_an_answer_is_left_to_the_sdk(status: int) -> None:
    assert judge(status, in_session=False, answers_in_json=False) is None


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_ask_for_a_new_session_with_new_ones(status: int) -> None:
    verdict = judge(status, in_session=False, answers_in_json=True)
    assert verdict is not None
    assert isinstance(verdict.error, CredentialsRefused)
    assert verdict.session_lost


@pytest.mark.parametrize(
    ("status", "sent"), [(429, Sent.NO), (503, Sent.MAYBE), (500, Sent.MAYBE), (504, Sent.MAYBE)]
)
def test_a_status_says_whether_the_request_can_have_run(status: int, sent: Sent) -> None:
    verdict = judge(status, in_session=False, answers_in_json=False)
    assert verdict is not None
    assert verdict.sent is sent
    assert not verdict.session_lost


def test_only_a_503_that_says_when_to_come_back_was_turned_away() -> None:
    verdict = judge(503, in_session=False, answers_in_json=False, asks_to_wait=True)
    assert verdict is not None
    assert verdict.sent is Sent.NO


def test_an_error_of_the_server_in_json_is_an_answer() -> None:
    assert judge(500, in_session=True, answers_in_json=True) is None


@pytest.mark.parametrize(
    "root", [ssl.SSLError("bad certificate"), socket.gaierror("no such host"), TimeoutError()]
)
def test_errors_that_need_a_human_keep_their_kind_below_https_layers(root: Exception) -> None:
    assert in_our_words(wrapped(root)) is root


def test_other_errors_of_the_network_are_a_lost_session_with_the_first_cause() -> None:
    error = in_our_words(wrapped(ConnectionResetError("reset by peer")))
    assert isinstance(error, SessionLost)
    assert "reset by peer" in str(error)


def wrapped(root: Exception) -> Exception:
    try:
        try:
            raise root
        except Exception as inner:
            raise httpx2.ConnectError("wrapped") from inner
    except httpx2.ConnectError as error:
        return error


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "ping"}, False),
        ({"jsonrpc": "2.0", "method": "notifications/initialized"}, True),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, True),
    ],
)
def test_only_requests_are_waited_for(body: dict[str, object], expected: bool) -> None:
    assert is_notification(httpx2.Request("POST", "http://x/", json=body)) is expected
