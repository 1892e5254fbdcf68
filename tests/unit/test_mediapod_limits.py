"""Limits before work: offers, candidates, rates, retransmission and keyframe requests."""

from dataclasses import dataclass

import pytest

from mediapod.api.limits import TokenBucket
from mediapod.rtc.keyframes import KeyframeRequests
from mediapod.rtc.offer import InvalidOffer, check_offer, may_contact
from mediapod.rtc.repair import Retransmissions

CANDIDATE = "a=candidate:1 1 udp 2130706431 {} {} typ host"


def media(kind: str = "video", mid: str = "0", direction: str = "sendrecv", codec: str = "VP8/90000") -> list[str]:
    return [
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 97",
        "c=IN IP4 0.0.0.0",
        f"a={direction}",
        f"a=mid:{mid}",
        "a=rtcp-mux",
        f"a=rtpmap:97 {codec}",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuv",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
    ]


def offer(*sections: list[str], bundle: str = "") -> str:
    head = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    group = [f"a=group:BUNDLE {bundle}"] if bundle else []
    return "\r\n".join([*head, *group, *(line for section in sections for line in section)]) + "\r\n"


def without(prefix: str) -> str:
    return offer([line for line in media() if not line.startswith(prefix)])


def test_a_plain_offer_is_accepted():
    checked = check_offer(offer(media()))
    assert [line.kind for line in checked.media] == ["video"]


@pytest.mark.parametrize("of_session", ["a=sendrecv", ""])
def test_without_a_direction_of_its_own_a_line_has_that_of_the_session(of_session):
    head, *lines = offer([line for line in media() if line != "a=sendrecv"]).splitlines()
    checked = check_offer("\r\n".join([head, *filter(None, [of_session]), *lines]))
    assert [line.direction for line in checked.media] == ["sendrecv"]
    assert "a=sendrecv" in checked.sdp.split("m=video")[1]


def test_media_come_in_the_order_of_the_bundle():
    text = offer(media("audio", "a", codec="opus/48000/2"), media("video", "v"), bundle="v a")
    assert [line.mid for line in check_offer(text).media] == ["v", "a"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "v=0"),
        ("hello", "v=0"),
        ("v=0\r\n" + "a=x\r\n" * 20_000, "larger than 65536 bytes"),
        (offer(*[media(mid=str(i)) for i in range(5)]), "5 media lines"),
        (offer(media() + [CANDIDATE.format("192.0.2.1", 5000)] * 65), "65 candidates"),
        (offer(), "no media lines"),
        (offer(media(mid="0"), media(mid="1"), bundle="0 1"), "2 video media lines"),
        (offer(media(), media("application", "1"), bundle="0 1"), "data channels"),
        (offer(media(direction="recvonly")), "must be sendrecv"),
        (offer(media(direction="x")).replace("t=0 0", "t=0 0\r\na=recvonly"), "must be sendrecv"),
        (offer(media(codec="AV1/90000")), "H264 or VP8"),
        (without("a=mid"), "a=mid"),
        (without("a=ice-ufrag"), "ICE credentials"),
        (without("a=fingerprint"), "fingerprint"),
        (without("a=rtcp-mux"), "rtcp-mux"),
        (offer(media(), media("audio", "1", codec="opus/48000/2")), "bundle all"),
        (offer(media(), media("audio", "1", codec="opus/48000/2"), bundle="0 0"), "bundle all"),
        (offer(media("audio", "1", codec="opus/48000/2"), bundle="0 1"), "bundle all"),
        ("v=0\r\nm=video x y z\r\n", "cannot be parsed"),
    ],
)
def test_a_bad_offer_is_refused_with_its_cause(text, cause):
    with pytest.raises(InvalidOffer, match=cause):
        check_offer(text)


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        ("192.0.2.1", 50000, True),
        ("10.1.2.3", 1024, True),
        ("127.0.0.1", 40000, True),
        ("2001:db8::1", 40000, True),
        ("host.local", 50000, False),
        ("metadata.internal", 50000, False),
        ("169.254.169.254", 50000, False),
        ("fe80::1", 50000, False),
        ("224.0.0.1", 50000, False),
        ("0.0.0.0", 50000, False),
        ("192.0.2.1", 53, False),
        ("192.0.2.1", 70000, False),
    ],
)
def test_only_harmless_candidates_are_contacted(address, port, allowed):
    assert may_contact(CANDIDATE.format(address, port)) is allowed


def test_only_usable_udp_candidates_of_the_first_component_remain():
    lines = [
        CANDIDATE.format("192.0.2.1", 5000),
        CANDIDATE.format("name.local", 5000),
        "a=candidate:1 1 tcp 1 192.0.2.1 5000 typ host tcptype active",
        "a=candidate:1 2 udp 1 192.0.2.1 5001 typ host",
        "a=candidate:broken",
        "a=end-of-candidates",
    ]
    sdp = check_offer(offer(media() + lines)).sdp
    assert sdp.count("a=candidate:") == 1
    assert "end-of-candidates" not in sdp


def test_with_bundling_every_section_gets_the_candidates():
    first = [*media("audio", "0", codec="opus/48000/2"), CANDIDATE.format("192.0.2.1", 5000)]
    sdp = check_offer(offer(first, media("video", "1"), bundle="0 1")).sdp
    assert sdp.count("a=candidate:") == 2


def test_the_token_bucket_lets_bursts_and_the_rate_pass():
    now = [0.0]
    bucket = TokenBucket(per_second=10, at_once=3, clock=lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now[0] += 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    now[0] += 100
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_keyframe_requests_are_coalesced_and_repeated_until_satisfied():
    requests = KeyframeRequests(interval_seconds=0.5)
    assert not requests.due(0)
    requests.want()
    requests.want()
    assert [requests.due(t) for t in (0.0, 0.1, 0.4, 0.6)] == [True, False, False, True]
    requests.satisfied()
    assert not requests.due(9)


@dataclass
class Packet:
    sequence_number: int


def test_missing_packets_are_asked_for_at_once_again_and_not_for_ever():
    now = [0.0]
    repair = Retransmissions(lambda: now[0])
    assert not repair.add(Packet(65534))
    assert repair.add(Packet(1))
    assert repair.missing == {65535, 0}
    assert not repair.add(Packet(2))
    repair.add(Packet(0))
    now[0] += 0.05
    assert repair.add(Packet(3))
    assert repair.missing == {65535}
    for step in range(4, 20):
        now[0] += 0.05
        repair.add(Packet(step))
    assert repair.missing == set()


def test_a_jump_asks_for_a_bounded_number_of_packets():
    repair = Retransmissions(lambda: 0.0)
    repair.add(Packet(0))
    repair.add(Packet(2000))
    assert len(repair.missing) <= 128
    repair.add(Packet(20_000))
    assert len(repair.missing) <= 128
