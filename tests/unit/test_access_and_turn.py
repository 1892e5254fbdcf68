"""Bearer tokens, JSON Web Tokens and TURN credentials."""

import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mediapod.access import Denied, JwtVerifier, access_for
from mediapod.rtc.turn import TurnServer, TurnServers

SECRET = "a shared secret that is 32 bytes or longer"


def claims(**changes: object) -> dict[str, object]:
    return {"aud": "mediapod", "exp": time.time() + 60, **changes}


def accepts(access, token: str) -> bool:
    try:
        access.check(f"Bearer {token}")
    except Denied:
        return False
    return True


def test_without_token_and_key_everybody_may() -> None:
    access_for(None, None, "mediapod").check("")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic right", "right", "Bearer right x"])
def test_a_wrong_header_is_denied(header: str) -> None:
    with pytest.raises(Denied, match="bearer token"):
        access_for("right", None, "mediapod").check(header)


def test_the_token_or_a_web_token_is_enough() -> None:
    access = access_for("right", SECRET, "mediapod")
    assert accepts(access, "right")
    assert accepts(access, jwt.encode(claims(), SECRET, "HS256"))


@pytest.mark.parametrize(
    "changes",
    [{"aud": "other"}, {"exp": 1}, {"nbf": 1 << 40}, {"exp": "soon"}],
    ids=["audience", "expired", "not yet", "nonsense"],
)
def test_a_web_token_for_somebody_else_or_another_time_is_denied(changes: dict[str, object]) -> None:
    assert not accepts(access_for(None, SECRET, "mediapod"), jwt.encode(claims(**changes), SECRET, "HS256"))


@pytest.mark.parametrize("missing", ["aud", "exp"])
def test_a_web_token_must_say_for_whom_and_until_when(missing: str) -> None:
    content = claims()
    del content[missing]
    assert not accepts(access_for(None, SECRET, "mediapod"), jwt.encode(content, SECRET, "HS256"))


def test_the_key_decides_on_the_algorithm_and_not_the_token() -> None:
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    access = access_for(None, public.decode(), "mediapod")
    assert accepts(access, jwt.encode(claims(), private, "RS256"))
    assert not accepts(access, jwt.encode(claims(), None, "none"))
    # The classic confusion: signed with the public key as if it were a shared secret (PyJWT refuses to make one).
    head, body, _ = jwt.encode(claims(), SECRET, "HS256").split(".")
    forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(f"{head}.{body}".encode(), public)
    assert not accepts(access, f"{head}.{body}.{jwt.utils.base64url_encode(forged).decode()}")


@pytest.mark.parametrize("key", ["short", "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----"])
def test_an_unusable_key_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        JwtVerifier(key, "mediapod")


@given(st.text(max_size=80))
def test_no_text_is_a_token(text: str) -> None:
    assert not accepts(access_for("right-" + "x" * 90, SECRET, "mediapod"), text)


def test_turn_credentials_are_those_of_the_rest_scheme() -> None:
    turn = TurnServers(("turn:turn.example:3478",), "north", 3600)
    username, password = turn.credentials("alice", 1_700_000_000.9)
    assert username == "1700003600:alice"
    # printf '1700003600:alice' | openssl dgst -sha1 -hmac north -binary | base64
    assert password == "wjwSXO2ch1B6VaLTLMy2Avn5O9o="
    values = f'username="{username}"; credential="{password}"; credential-type="password"'
    assert list(turn.links("alice", 1_700_000_000)) == [f'<turn:turn.example:3478>; rel="ice-server"; {values}']


def test_without_turn_servers_nothing_is_told() -> None:
    assert list(TurnServers().links("alice", 0)) == []
    assert TurnServers().ice_servers("alice", 0) == []


def test_browsers_get_the_same_credentials_as_the_link_header_tells() -> None:
    turn = TurnServers(("turn:a", "turns:b"), "north", 60)
    username, password = turn.credentials("alice", 1000)
    expected = [{"urls": ["turn:a", "turns:b"], "username": username, "credential": password}]
    assert turn.ice_servers("alice", 1000) == expected
    assert len(list(turn.links("alice", 1000))) == 2


def test_one_users_password_is_told_as_it_is_and_quoted_in_a_header() -> None:
    turn = TurnServers(("turn:a",), username="alice", password='won"der')
    assert turn.credentials("whoever", 5) == ("alice", 'won"der')
    assert 'credential="won\\"der"' in next(iter(turn.links("whoever", 5)))


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("turn:turn.example.com", ("turn.example.com", 3478, "udp", False)),
        ("turn:203.0.113.7:80?transport=tcp", ("203.0.113.7", 80, "tcp", False)),
        ("turn:[2001:db8::1]:1?transport=udp", ("2001:db8::1", 1, "udp", False)),
        ("turns:turn.example.com", ("turn.example.com", 5349, "tcp", True)),
    ],
)
def test_a_turn_uri_is_read_as_rfc_7065_says(uri: str, server: tuple[str, int, str, bool]) -> None:
    read = TurnServer.parse(uri)
    assert (read.host, read.port, read.transport, read.tls) == server
    assert read.uri == uri


@pytest.mark.parametrize(
    "uri", ["stun:a", "turn:", "turn:a:0", "turn:a:65536", "turn:a?transport=sctp", "turn:a b", "a"]
)
def test_what_is_no_turn_uri_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(uri))):
        TurnServer.parse(uri)


def test_turn_over_dtls_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="use \\?transport=tcp"):
        TurnServer.parse("turns:a?transport=udp")
