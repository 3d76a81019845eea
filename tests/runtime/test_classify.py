import ssl

import pytest

from resprout.runtime.classify import is_programming_error, leaves, unwrapped
from resprout.runtime.errors import NotFoundError, Unavailable


@pytest.mark.parametrize(
    "error", [TypeError(), AttributeError(), NameError(), AssertionError(), KeyError("x")]
)
def test_what_python_raises_for_wrong_code_is_a_programming_error(error: Exception) -> None:
    assert is_programming_error(error)
    assert is_programming_error(ExceptionGroup("", [OSError(), ExceptionGroup("", [error])]))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        EOFError(),
        RuntimeError("transport closed"),
        ValueError("bad reply"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ssl.SSLCertVerificationError(),
        Unavailable("redis", "down"),
        NotFoundError("redis", "nobody there"),
    ],
)
def test_what_remotes_and_client_libraries_cause_is_not(error: Exception) -> None:
    assert not is_programming_error(error)


def test_a_group_of_one_is_unwrapped_and_a_larger_one_kept_whole() -> None:
    one, two = OSError("one"), OSError("two")
    assert unwrapped(ExceptionGroup("", [ExceptionGroup("", [one])])) is one
    both = ExceptionGroup("", [one, ExceptionGroup("", [two])])
    assert unwrapped(both) is both
    assert list(leaves(both)) == [one, two]
