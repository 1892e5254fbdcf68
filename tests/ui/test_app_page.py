"""The web page: a picture goes out, comes back processed, and what the page says of it is true."""

import os
from pathlib import Path

import pytest

from coturn import SHARED_SECRET, running_coturn

pytestmark = pytest.mark.ui

STAGES = [
    {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 5}},
    {"name": "grey", "effect": "Grayscale"},
]
LATENCY_SHOWN = "/^\\d+ ms$/.test(document.querySelector('#latency').textContent)"
RUNNING = f"document.querySelector('#state').textContent === 'Live' && {LATENCY_SHOWN}"


@pytest.mark.parametrize("source", ["pattern", "camera"])
async def test_a_picture_goes_out_and_comes_back_with_its_latency(pod, browse, source):
    mediapod, url = await pod(MEDIAPOD_STAGES=STAGES, MEDIAPOD_PIPELINE="studio-blur")
    async with browse(f"{url}/app") as page:
        await page.evaluate(f"document.querySelector('#source').value = '{source}'")
        await page.evaluate("document.querySelector('#go').click()")
        await page.until(RUNNING)
        await page.until("Number(document.querySelector('#rate').textContent) >= 1")
        text = await page.evaluate("document.body.innerText")
        assert "studio-blur" in text
        assert "GaussianBlur → Grayscale" in text
        assert await page.evaluate("document.querySelector('#device').textContent") == "CPU"
        assert await page.until("document.querySelector('#sessions').textContent === '1 / 100'")
        if os.environ.get("SCREENSHOTS"):
            await page.picture(Path(os.environ["SCREENSHOTS"]) / f"app-{source}.png")
        await page.evaluate("document.querySelector('#go').click()")
        await page.until("document.querySelector('#sessions').textContent === '0 / 100'")
    reasons = {
        reason: mediapod.metrics.registry.get_sample_value("mediapod_sessions_ended_total", {"reason": reason})
        for reason in ("ClientEnded", "PeerClosed")
    }
    assert sum(reasons.values()) == 1


async def test_a_full_pod_is_told_with_its_reason_and_the_simulation_is_said(pod, browse):
    _, url = await pod(
        MEDIAPOD_DEVICE="Simulated", MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS=4, MEDIAPOD_TOKEN="secret"
    )
    async with browse(f"{url}/app?start") as page:
        problem = await page.until("document.querySelector('#problem').textContent")
        assert "401" in str(problem)
        assert await page.until("document.querySelector('#device').textContent === 'simulated GPU'")
        assert "cuda-simulated" in str(await page.evaluate("document.body.innerText"))
        await page.evaluate("document.querySelector('#token').value = 'secret'; document.querySelector('#go').click()")
        await page.until(RUNNING)
        if os.environ.get("SCREENSHOTS"):
            await page.picture(Path(os.environ["SCREENSHOTS"]) / "app-simulated.png")


async def test_a_pod_that_only_a_turn_server_reaches_is_reached(pod, browse, tmp_path):
    with running_coturn(tmp_path) as coturn:
        mediapod, url = await pod(
            MEDIAPOD_RELAY=True, MEDIAPOD_TURN_URIS=[coturn.uri], MEDIAPOD_TURN_SECRET=SHARED_SECRET
        )
        async with browse(f"{url}/app") as page:
            await page.evaluate(
                "window.real = RTCPeerConnection; RTCPeerConnection = class extends window.real { constructor(c) {"
                " super({...c, iceTransportPolicy: 'relay'}); window.configured = c.iceServers; } }"
            )
            await page.evaluate("document.querySelector('#go').click()")
            await page.until(RUNNING)
            assert await page.evaluate("window.configured[0].urls") == [coturn.uri]
        assert mediapod.registry.active == 1


async def test_a_browser_publishes_by_whip_and_another_page_plays_by_whep(pod, browse):
    mediapod, url = await pod(MEDIAPOD_STAGES=STAGES)
    async with browse(f"{url}/app") as page:
        played = await page.evaluate(
            """(async () => {
              const open = async (path, prepare) => {
                const connection = new RTCPeerConnection();
                prepare(connection);
                await connection.setLocalDescription();
                const headers = {"Content-Type": "application/sdp"};
                const answer = await fetch(path, {method: "POST", headers, body: connection.localDescription.sdp});
                await connection.setRemoteDescription({type: "answer", sdp: await answer.text()});
                return {connection, answer};
              };
              const sent = document.querySelector("#sent").captureStream(30).getVideoTracks()[0];
              const publisher = await open("/whip", c => c.addTransceiver(sent, {direction: "sendonly"}));
              const stream = /<([^>]+)>; rel="alternate"/.exec(publisher.answer.headers.get("Link"))[1];
              const viewer = await open(stream, c => c.addTransceiver("video", {direction: "recvonly"}));
              for (let tries = 0; tries < 600; tries++) {
                await new Promise(resolve => setTimeout(resolve, 150));
                const stats = [...(await viewer.connection.getStats()).values()];
                const video = stats.find(s => s.type === "inbound-rtp");
                if (video && video.framesDecoded > 10) return [publisher.answer.status, viewer.answer.status];
              }
              return "no pictures";
            })()"""
        )
        assert played == [201, 201], played
        assert mediapod.registry.active == 2
