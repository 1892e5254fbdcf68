"""Offers as browsers and encoders write them."""

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["5A"] * 32)
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"


def head(*groups: str) -> list[str]:
    return ["v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *groups]


def transport(ufrag: str, setup: str = "actpass") -> list[str]:
    return [f"a=ice-ufrag:{ufrag}", "a=ice-pwd:asd88fgpdd777uzjYhagZgAB", FINGERPRINT, f"a=setup:{setup}", "a=rtcp-mux"]


def chrome() -> list[str]:
    """Chromium: VP8 first, several H.264 profiles, RTX for each, RED, ULPFEC, many extensions, no candidate yet."""
    video = [
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 104 105 108 109 114 115",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        "a=ice-options:trickle",
        *transport("4ZcD"),
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:toffset",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:3 urn:3gpp:video-orientation",
        "a=extmap:4 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        f"a=extmap:5 {PLAYOUT_DELAY}",
        "a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=sendrecv",
        "a=msid:- 0a1b2c3d-0000-4000-8000-0123456789ab",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 transport-cc",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:102 H264/90000",
        "a=rtcp-fb:102 nack",
        "a=rtcp-fb:102 nack pli",
        "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        "a=rtpmap:103 rtx/90000",
        "a=fmtp:103 apt=102",
        "a=rtpmap:104 H264/90000",
        "a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f",
        "a=rtpmap:105 rtx/90000",
        "a=fmtp:105 apt=104",
        "a=rtpmap:108 H264/90000",
        "a=rtcp-fb:108 nack",
        "a=rtcp-fb:108 nack pli",
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        "a=rtpmap:109 rtx/90000",
        "a=fmtp:109 apt=108",
        "a=rtpmap:114 red/90000",
        "a=rtpmap:115 ulpfec/90000",
        "a=ssrc-group:FID 1001 1002",
        "a=ssrc:1001 cname:x",
        "a=ssrc:1002 cname:x",
    ]
    return [*head("a=group:BUNDLE 0", "a=extmap-allow-mixed", "a=msid-semantic: WMS"), *video]


def firefox() -> list[str]:
    """Firefox: session-level fingerprint, audio first, ids in braces, one-byte and two-byte extensions."""
    audio = [
        "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101",
        "c=IN IP4 0.0.0.0",
        "a=sendrecv",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1",
        "a=fmtp:101 0-15",
        *transport("a1b2c3d4"),
        "a=mid:0",
        "a=msid:{ab} {cd}",
        "a=rtpmap:109 opus/48000/2",
        "a=rtpmap:9 G722/8000/1",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
    ]
    video = [
        "m=video 9 UDP/TLS/RTP/SAVPF 120 124 126 127",
        "c=IN IP4 0.0.0.0",
        "a=sendrecv",
        "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1",
        "a=fmtp:120 max-fs=12288;max-fr=60",
        "a=fmtp:124 apt=120",
        "a=fmtp:127 apt=126",
        *transport("a1b2c3d4"),
        "a=mid:1",
        "a=msid:{ab} {ef}",
        "a=rtcp-fb:120 nack",
        "a=rtcp-fb:120 nack pli",
        "a=rtcp-fb:120 ccm fir",
        "a=rtcp-fb:120 goog-remb",
        "a=rtcp-fb:126 nack pli",
        "a=rtpmap:120 VP8/90000",
        "a=rtpmap:124 rtx/90000",
        "a=rtpmap:126 H264/90000",
        "a=rtpmap:127 rtx/90000",
    ]
    return [*head("a=group:BUNDLE 0 1", "a=ice-options:trickle", "a=msid-semantic:WMS *"), *audio, *video]


def encoder() -> list[str]:
    """OBS and FFmpeg: H.264 alone, no retransmission, host candidates in the offer, DTLS client only."""
    video = [
        "m=video 9 UDP/TLS/RTP/SAVPF 106",
        "c=IN IP4 0.0.0.0",
        *transport("Qs1p", "active"),
        "a=mid:video0",
        "a=sendrecv",
        "a=ssrc:77 cname:obs",
        "a=rtpmap:106 H264/90000",
        "a=fmtp:106 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
        "a=rtcp-fb:106 nack",
        "a=rtcp-fb:106 nack pli",
        "a=candidate:1 1 UDP 2122317823 192.0.2.10 50123 typ host",
        "a=end-of-candidates",
    ]
    return [*head("a=group:BUNDLE video0"), *video]
