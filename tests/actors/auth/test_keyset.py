"""What is read from a published key set, and what is not, whoever wrote it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resprout.actors.auth.signed import BadKeySet
from resprout.actors.auth.signed.keyset import read_key_set
from tests.actors.auth.jwks_server import key_set, public


def test_each_type_of_key_verifies_with_the_algorithms_that_fit_it() -> None:
    keys = read_key_set(key_set(public("r", "RSA"), public("e"), public("o", "OKP"))).keys
    assert {name for kid, name in keys if kid == "r"} == {
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
    }
    assert {name for kid, name in keys if kid == "e"} == {"ES256"}
    assert {name for kid, name in keys if kid == "o"} == {"EdDSA"}


def test_a_key_that_names_its_algorithm_verifies_with_no_other() -> None:
    keys = read_key_set(key_set(public("r", "RSA", alg="RS512"))).keys
    assert list(keys) == [("r", "RS512")]


def test_a_private_part_that_was_published_is_not_kept() -> None:
    jwk = public("e", d="c2VjcmV0")
    (found,) = read_key_set(key_set(jwk)).keys.values()
    assert "d" not in found._jwk_data


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "kid": "k", "k": "c2VjcmV0"},
        {"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "RS256"},
        public("e", use="enc"),
        public("e", key_ops=["sign"]),
        public("e", key_ops="verify"),
        public("e", alg="none"),
        public("e", alg="HS256"),
        public("e", kid=7),
        public("e", crv="P-521"),
        public("e", x="AAAA"),
        public("e", x=None),
        public("weak", "RSA-1024"),
        {**public("r", "RSA"), "n": ""},
        {**public("r", "RSA"), "e": "AA"},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {},
        [],
        "key",
        None,
    ],
)
def test_a_key_that_must_not_verify_is_not_there_and_spoils_no_other(jwk: object) -> None:
    body = json.dumps({"keys": [jwk, public("good")]}).encode()
    assert read_key_set(body).ids == {"good"}
    with pytest.raises(BadKeySet, match="none of the 1 keys"):
        read_key_set(json.dumps({"keys": [jwk]}).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": null}',
        b"[" * 100_000,
        b'{"keys": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        json.dumps({"keys": [public("e")] * 101}).encode(),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_key_set_is_refused_with_a_typed_error(body: bytes) -> None:
    with pytest.raises(BadKeySet):
        read_key_set(body)


def test_a_token_without_a_key_id_gets_a_key_only_if_there_is_no_choice() -> None:
    one = read_key_set(key_set(public("e"), public("r", "RSA")))
    assert one.find(None, "ES256") is one.find("e", "ES256") is not None
    assert read_key_set(key_set(public("e"), public("f"))).find(None, "ES256") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kty", "kid", "alg", "crv", "n", "e", "x", "y", "use"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(
        JSON | st.builds(lambda more: public("e") | more, st.dictionaries(st.just("x"), JSON)), max_size=3
    )
)
def test_no_published_text_does_more_than_be_refused(jwks: list[object]) -> None:
    try:
        found = read_key_set(json.dumps({"keys": jwks}).encode())
    except BadKeySet:
        return
    assert all(kid is None or isinstance(kid, str) for kid in found.ids)
