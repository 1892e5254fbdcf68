"""Hostile session descriptions: refused with a cause, or answered; nothing else ever comes out."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediapod.engine.cpu import CpuEngine
from mediapod.frames.ledger import FrameLedger, Result
from mediapod.rtc.ice import MediaAddress
from mediapod.rtc.offer import InvalidOffer, Offer, Purpose, check_offer
from mediapod.rtc.peer import Peer
from mediapod.rtc.video import FramePolicy, LatePolicy, VideoPath
from sdp_offers import chrome, encoder, firefox

OFFERS = {"chrome": chrome(), "firefox": firefox(), "encoder": encoder()}
# Lines that somebody has broken a parser with, or might.
LINES = [
    "m=",
    "m=video",
    "m=video 9",
    "m=video 99999999999 UDP/TLS/RTP/SAVPF 96",
    "m=video 9 UDP/TLS/RTP/SAVPF " + "96 " * 400,
    "m=audio 9/0 RTP/AVP -1",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "a=",
    "a=:",
    "a=rtpmap:",
    "a=rtpmap:96",
    "a=rtpmap:96 /",
    "a=rtpmap:96 VP8/",
    "a=rtpmap:96 VP8/0",
    "a=rtpmap:96 VP8/-90000",
    "a=rtpmap:96 opus/48000/0",
    "a=rtpmap:4294967296 VP8/90000",
    "a=fmtp:96",
    "a=fmtp:96 apt=x",
    "a=fmtp:97 apt=97",
    "a=fmtp:102 profile-level-id=",
    "a=fmtp:102 profile-level-id=ffffff",
    "a=rtcp-fb:",
    "a=rtcp-fb:* ",
    "a=extmap:",
    "a=extmap:0 urn:x",
    "a=extmap:15 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=extmap:99999 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=extmap:-1 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    "a=mid:",
    "a=mid:" + "x" * 5000,
    "a=mid:\u202e\u0000",
    "a=group:BUNDLE",
    "a=group:BUNDLE 0 0 0",
    "a=group:",
    "a=ssrc:",
    "a=ssrc:x cname:y",
    "a=ssrc:99999999999 cname:y",
    "a=ssrc-group:FID",
    "a=ssrc-group:FID 1",
    "a=ssrc-group:FID x y",
    "a=candidate:",
    "a=candidate:1 1 UDP",
    "a=candidate:1 1 UDP -1 127.0.0.1 -1 typ host",
    "a=candidate:1 1 UDP 1 ::ffff:127.0.0.1 4000 typ host raddr x rport y",
    "a=fingerprint:",
    "a=fingerprint:sha-256",
    "a=fingerprint:sha-256 ",
    "a=fingerprint:md5 00",
    "a=setup:",
    "a=setup:holdconn",
    "a=ice-ufrag:",
    "a=ice-pwd:" + "p" * 4000,
    "a=ice-lite",
    "a=rtcp:x",
    "a=rtcp:99999999 IN IP9 ?",
    "a=msid:",
    "a=simulcast:send 1;2;3",
    "a=inactive",
    "c=",
    "c=IN IP4 256.256.256.256",
    "c=IN IP6 nowhere",
    "b=AS:-1",
    "o=",
    "t=",
    "v=1",
    "\ufeff",
    "%s%n",
]


def hostile(offer: list[str], changes: list[tuple[int, int, int]]) -> str:
    """Change (which, what, with): drop, double, replace, insert, cut off a line, or exchange two."""
    lines = list(offer)
    for which, what, index in changes:
        at = which % len(lines)
        if what == 0 and len(lines) > 1:
            del lines[at]
        elif what == 1:
            lines.insert(at, lines[at])
        elif what == 2:
            lines[at] = LINES[index % len(LINES)]
        elif what == 3:
            lines.insert(at, LINES[index % len(LINES)])
        elif what == 4:
            lines[at] = lines[at][: index % (len(lines[at]) + 1)]
        else:
            other = index % len(lines)
            lines[at], lines[other] = lines[other], lines[at]
    return "\r\n".join(lines) + "\r\n"


CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 5), st.integers(0, 4000)), min_size=1, max_size=6)
HOSTILE = st.builds(hostile, st.sampled_from(sorted(OFFERS)).map(OFFERS.__getitem__), CHANGES)


def checked(text: str, purpose: Purpose = Purpose.RETURN) -> Offer | None:
    """The checked offer, None when it is refused with a cause that names its field."""
    try:
        return check_offer(text, purpose)
    except InvalidOffer as invalid:
        refused = invalid
    assert refused.field.startswith("sdp")
    assert len(refused.detail) > 5
    return None


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("name", OFFERS)
def test_one_hostile_line_anywhere_is_refused_or_taken(name, line):
    offer = OFFERS[name]
    for at in range(0, len(offer) + 1, 3):
        checked("\r\n".join([*offer[:at], line, *offer[at:]]) + "\r\n")


@settings(max_examples=150, deadline=None)
@given(text=HOSTILE, purpose=st.sampled_from(list(Purpose)))
def test_damaged_offers_are_refused_with_their_cause_or_taken(text, purpose):
    checked(text, purpose)


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=400).map(lambda rest: "v=0\r\n" + rest))
def test_any_text_is_refused(text):
    assert checked(text) is None


class NoMeter:
    def frame_received(self) -> None: ...

    def frame_ended(self, result: Result) -> None: ...

    def frame_age(self, seconds: float) -> None: ...

    def stage(self, stage: object, seconds: float) -> None: ...


async def answered(offer: Offer) -> str | None:
    """What a peer of the service answers, None when it refuses."""
    engine, pool = CpuEngine([], workers=1), ThreadPoolExecutor(1)
    policy = FramePolicy(1.0, LatePolicy.DROP)
    video = VideoPath(FrameLedger(NoMeter()), engine, policy, pool)
    peer = Peer(video, MediaAddress("127.0.0.1", None, ()), lambda _: None)
    try:
        return await asyncio.wait_for(peer.answer(offer), 60)
    except InvalidOffer:
        return None
    finally:
        await peer.close()
        pool.shutdown()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(offer=HOSTILE.map(checked).filter(lambda offer: offer is not None))
def test_what_was_taken_is_answered_or_refused_with_its_cause(offer):
    answer = asyncio.run(answered(offer))
    assert answer is None or answer.startswith("v=0\r\n")
