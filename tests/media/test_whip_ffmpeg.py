"""FFmpeg's own WHIP client (the muxer of FFmpeg 8, as PyAV brings it) publishes to the mediapod."""

import asyncio
import datetime
import sys
from pathlib import Path

import av
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = pytest.mark.media

PUSH = """
import sys, time
from fractions import Fraction
import av, numpy
url, certificate, key, frames = sys.argv[1:]
options = {"cert_file": certificate, "key_file": key, "handshake_timeout": "60000"}
out = av.open(url, "w", format="whip", options=options)
options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
stream = out.add_stream("libx264", rate=30, options=options)
stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
stream.codec_context.max_b_frames = 0
for number in range(int(frames)):
    frame = av.VideoFrame.from_ndarray(numpy.full((240, 320, 3), number * 4 % 255, numpy.uint8), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, 30)
    for packet in stream.encode(frame):
        out.mux(packet)
    time.sleep(1 / 15)  # no faster than a busy machine decodes: what is not decoded in time is superseded
out.close()
"""


def certificate(folder: Path) -> tuple[str, str]:
    """A P-256 certificate: the one that FFmpeg makes with GnuTLS is refused by aiortc's choice of ciphers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "publisher")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    signed = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    traditional = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, traditional, serialization.NoEncryption()))
    return str(pem), str(private)


async def test_ffmpeg_publishes_and_every_frame_is_processed(serve, tmp_path, eventually):
    if "whip" not in av.formats_available:
        pytest.skip("this build of PyAV has no WHIP muxer (FFmpeg before 8)")
    server = await serve()
    # A process of its own: the muxer holds Python's lock while it waits for the answer.
    command = [sys.executable, "-c", PUSH, f"{server.url}/whip", *certificate(tmp_path), "60"]
    process = await asyncio.create_subprocess_exec(*command)
    assert await asyncio.wait_for(process.wait(), 120) == 0
    assert server.metric("mediapod_offers_total", result="accepted") == 1
    assert server.metric("mediapod_frames_received_total") >= 50
    assert server.results()["ok"] >= 40
    await eventually(lambda: not server.mediapod.registry.sessions, 60)
    assert server.metric("mediapod_sessions_ended_total", reason="ClientEnded") == 1, "FFmpeg sends DELETE"
