"""The console's protocol."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.console.wire import (
    VERSION,
    Code,
    Request,
    RequestError,
    Verb,
    decode_answer,
    decode_request,
    encode_error,
    encode_request,
    encode_result,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(Verb), st.dictionaries(st.text(), json_values, max_size=3))
def test_a_request_arrives_as_it_was_sent(verb: Verb, args: dict[str, object]) -> None:
    line = encode_request(verb, args)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line.strip()) == Request(verb, args)


@given(json_values)
def test_a_result_arrives_as_it_was_sent(result: object) -> None:
    line = encode_result(result)
    assert line.count(b"\n") == 1
    assert decode_answer(line) == result


@given(st.sampled_from(Code), st.text())
def test_an_error_arrives_as_it_was_sent(code: Code, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_answer(encode_error(RequestError(code, message)))
    assert (caught.value.code, caught.value.message) == (code, message)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_arrives_is_a_request_or_a_typed_error(line: bytes) -> None:
    try:
        request = decode_request(line)
    except RequestError:
        return
    assert isinstance(request, Request)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", Code.BAD_REQUEST),
        (b"GET / HTTP/1.1", Code.BAD_REQUEST),
        (b"[" * 100_000, Code.BAD_REQUEST),
        (b'{"v": 1}', Code.BAD_REQUEST),
        (b'{"v": "1", "verb": "tree"}', Code.BAD_REQUEST),
        (b'{"v": 1, "verb": "tree", "args": []}', Code.BAD_REQUEST),
        (b'{"v": 2, "verb": "tree"}', Code.BAD_VERSION),
        (b'{"v": 1, "verb": "explode"}', Code.UNKNOWN_VERB),
        (b'\xff\xfe{"v": 1}', Code.BAD_REQUEST),
    ],
)
def test_each_kind_of_nonsense_has_its_code(line: bytes, code: Code) -> None:
    with pytest.raises(RequestError) as caught:
        decode_request(line)
    assert caught.value.code is code


@pytest.mark.parametrize("args", [{}, {"path": 1}, {"path": ""}, {"path": "app", "force": True}])
def test_info_wants_one_path_and_nothing_else(args: dict[str, object]) -> None:
    with pytest.raises(RequestError) as caught:
        Request(Verb.INFO, args).path()
    assert caught.value.code is Code.BAD_ARGUMENTS


def test_the_version_stands_in_every_answer() -> None:
    for line in (encode_result(None), encode_error(RequestError(Code.REFUSED, "no"))):
        assert json.loads(line)["v"] == VERSION
