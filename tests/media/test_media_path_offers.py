"""Offers as browsers and encoders write them are answered: right codec, ids of extensions, bundled, with candidates."""

import httpx
import pytest

from sdp_offers import PLAYOUT_DELAY, chrome, encoder, firefox

pytestmark = pytest.mark.media


async def answer(server, lines: list[str]) -> list[str]:
    body = {"sdp": "\r\n".join(lines) + "\r\n", "type": "offer"}
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{server.url}/webrtc/offer", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["sdp"].splitlines()


@pytest.mark.parametrize("lines", [chrome(), firefox(), encoder()], ids=["chrome", "firefox", "encoder"])
async def test_the_offer_is_answered_with_h264_and_candidates(serve, lines):
    server = await serve(WEBRTC_TIMEOUT=300)
    found = await answer(server, lines)
    assert server.mediapod.registry.sessions[0].report().videoCodec == "H264"
    assert any(line.startswith("a=candidate:") and " 127.0.0.1 " in line for line in found)
    offered = [line.split()[0] for line in lines if line.startswith("m=")]
    assert [line.split()[0] for line in found if line.startswith("m=")] == offered
    assert all(line in ("a=setup:active", "a=setup:passive") for line in found if line.startswith("a=setup"))


async def test_chrome_gets_the_playout_delay_under_its_own_id(serve):
    server = await serve(WEBRTC_TIMEOUT=300)
    found = await answer(server, chrome())
    assert f"a=extmap:5 {PLAYOUT_DELAY}" in found
    (session,) = server.mediapod.registry.sessions
    assert session.report().roundTripSeconds is None


async def test_an_encoder_that_is_the_dtls_client_gets_a_passive_answer(serve):
    server = await serve(WEBRTC_TIMEOUT=300)
    assert "a=setup:passive" in await answer(server, encoder())


async def test_an_offer_of_vp8_alone_gets_vp8(serve):
    server = await serve(WEBRTC_TIMEOUT=300)
    only_vp8 = [
        line.replace(" 102 103 104 105 108 109 114 115", "")
        for line in chrome()
        if not any(f":{number} " in line for number in (102, 103, 104, 105, 108, 109, 114, 115))
    ]
    found = await answer(server, only_vp8)
    assert any("VP8/90000" in line for line in found)
    assert server.mediapod.registry.sessions[0].report().videoCodec == "VP8"


async def test_opus_is_asked_for_as_the_peer_takes_it_forward_error_correction_included(serve):
    server = await serve(WEBRTC_TIMEOUT=300)
    found = await answer(server, firefox())
    (line,) = [line for line in found if line.startswith("a=fmtp:109 ")]
    asked = set(line.removeprefix("a=fmtp:109 ").split(";"))
    assert asked == {"maxplaybackrate=48000", "stereo=1", "useinbandfec=1"}


async def test_opus_parameters_that_are_no_numbers_are_left_out(serve):
    server = await serve(WEBRTC_TIMEOUT=300)
    strange = [line.replace("stereo=1;useinbandfec=1", "cbr=yes;x=1;usedtx=1e9") for line in firefox()]
    found = await answer(server, strange)
    assert [line for line in found if line.startswith("a=fmtp:109 ")] == ["a=fmtp:109 maxplaybackrate=48000"]
