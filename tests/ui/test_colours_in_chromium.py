"""Colours go out of a browser and come back the same: no range or matrix is mistaken on the way."""

import json

import pytest

from mediapod.rtc.compat import OWN_EXTENSIONS

pytestmark = pytest.mark.ui

# Extremes, greys between (a range mistaken for another moves them by up to 16), and colours that a wrong matrix moves.
COLOURS = [
    [128, 128, 128],
    [64, 64, 64],
    [192, 192, 192],
    [16, 16, 16],
    [235, 235, 235],
    [191, 0, 0],
    [0, 191, 0],
    [0, 0, 191],
    [191, 191, 0],
    [0, 191, 191],
]
# Red and green: rounding to 8 bit YUV twice, and a quantiser. Blue: Chromium on x86 multiplies Cb of limited range
# BT.709 by 2.0 instead of 2.112 (libyuv keeps the factor in 8 bits), which takes 11 levels from a pure blue.
TOLERANCES = (6, 6, 12)

PAGE = """
(async (codec, colours) => {
  const width = 640, height = 360, cell = width / colours.length;
  const source = Object.assign(document.createElement("canvas"), {width, height});
  const context = source.getContext("2d");
  let count = 0;
  const draw = () => {
    colours.forEach((c, i) => { context.fillStyle = `rgb(${c})`; context.fillRect(i * cell, 0, cell, height); });
    context.fillStyle = count++ % 2 ? "#777" : "#888";
    context.fillRect(0, 0, 8, 8);
  };
  draw();
  const timer = setInterval(draw, 1000 / 15);
  const out = new RTCPeerConnection();
  const transceiver = out.addTransceiver(source.captureStream(15).getVideoTracks()[0], {direction: "sendrecv"});
  const all = RTCRtpReceiver.getCapabilities("video").codecs;
  transceiver.setCodecPreferences(all.filter(c => c.mimeType === "video/" + codec || /rtx/.test(c.mimeType)));
  const video = Object.assign(document.createElement("video"), {muted: true, autoplay: true});
  out.ontrack = event => { video.srcObject = new MediaStream([event.track]); video.play(); };
  await out.setLocalDescription();
  for (let tries = 0; tries < 50 && out.iceGatheringState !== "complete"; tries++)
    await new Promise(resolve => setTimeout(resolve, 100));
  const body = JSON.stringify({sdp: out.localDescription.sdp, type: "offer"});
  const headers = {"Content-Type": "application/json"};
  const answer = await (await fetch("/webrtc/offer", {method: "POST", headers, body})).json();
  await out.setRemoteDescription({type: "answer", sdp: answer.sdp});
  const reader = Object.assign(document.createElement("canvas"), {width, height})
    .getContext("2d", {willReadFrequently: true});
  const cellMean = i => {
    const data = reader.getImageData(Math.round((i + .5) * cell) - 4, height / 2 - 4, 8, 8).data;
    return [0, 1, 2].map(k => data.filter((_, p) => p % 4 === k).reduce((a, b) => a + b) / (data.length / 4));
  };
  let seen = null, used = "";
  for (let tries = 0; tries < 1000 && !seen; tries++) {
    await new Promise(resolve => setTimeout(resolve, 100));
    const stats = [...(await out.getStats()).values()], received = stats.find(s => s.type === "inbound-rtp");
    if (!received || !(received.framesDecoded >= 25)) continue;
    used = stats.find(s => s.id === received.codecId).mimeType;
    reader.drawImage(video, 0, 0, width, height);
    seen = colours.map((_, i) => cellMean(i));
  }
  clearInterval(timer);
  out.close();
  return {seen, used, answer: answer.sdp};
})
"""
PATHS = {
    "forwarded": {"MEDIAPOD_FORWARD_UNCHANGED": True},
    "decoded and encoded": {"MEDIAPOD_FORWARD_UNCHANGED": False},
    "soft": {"MEDIAPOD_STAGES": [{"name": "soft", "effect": "GaussianBlur", "parameters": {"radius": 3}}]},
}


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_greys_and_colour_bars_come_back_as_they_went(pod, browse, codec):
    # Whatever arrives is to come back, however busy this machine is.
    environment = {"MEDIAPOD_FRAME_DEADLINE_MILLISECONDS": 5000, "MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS": 0}
    urls = {path: (await pod(**environment, **PATHS[path]))[1] for path in PATHS}
    async with browse(next(iter(urls.values()))) as page:
        for path, url in urls.items():
            await page.call("Page.navigate", url=f"{url}/effects")
            await page.until(f"location.href.startsWith('{url}') && document.readyState === 'complete'")
            result = await page.evaluate(f"{PAGE.strip()}({json.dumps(codec)}, {json.dumps(COLOURS)})")
            assert result["used"] == f"video/{codec}", path
            assert all(uri in result["answer"] for uri in OWN_EXTENSIONS), "browsers offer both"
            assert not (wrong := differences(result["seen"])), f"{path}: {wrong}"


def differences(seen: list[list[float]]) -> dict[str, list[int]]:
    """What came back with another colour than it had."""
    return {
        str(before): [round(value) for value in after]
        for before, after in zip(COLOURS, seen, strict=True)
        if any(abs(one - two) > most for one, two, most in zip(before, after, TOLERANCES, strict=True))
    }
