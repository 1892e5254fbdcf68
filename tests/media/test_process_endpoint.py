"""POST /process: the reference workload and pictures, refused before work is done, behind live frames."""

import asyncio
import struct
import zlib

import cv2
import httpx
import numpy as np
import pytest

from mediapod.process.pictures import PictureType, decode_picture, encode_picture, generated_picture, picture_size

pytestmark = pytest.mark.media


@pytest.fixture
async def http():
    async with httpx.AsyncClient(timeout=120) as client:
        yield client


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels to speak of."""
    head = struct.pack("!II", width, height) + b"\x08\x02\x00\x00\x00"
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack("!I", 13) + chunk + struct.pack("!I", zlib.crc32(chunk)) + b"\0" * 64


def picture(width: int = 320, height: int = 240) -> np.ndarray:
    across = np.linspace(0, 255, width, dtype=np.uint8)
    return np.dstack(
        [np.tile(across, (height, 1)), np.full((height, width), 90, np.uint8), np.tile(across[::-1], (height, 1))]
    )


def jpeg(**size: int) -> bytes:
    return cv2.imencode(".jpg", picture(**size))[1].tobytes()


def png(**size: int) -> bytes:
    return cv2.imencode(".png", picture(**size))[1].tobytes()


@pytest.mark.parametrize("method", ["GET", "POST query", "POST octets", "POST JSON"])
async def test_the_reference_workload_in_each_form(serve, http, method):
    server = await serve()
    values = {"pixels": "640x360", "iters": 3}
    if method == "POST JSON":
        answer = await http.post(f"{server.url}/process", json=values)
    else:
        headers = {"Content-Type": "application/octet-stream"} if method == "POST octets" else {}  # as aiohttp does
        answer = await http.request(method.split()[0], f"{server.url}/process", params=values, headers=headers)
    report = answer.json()
    assert answer.status_code == 200, report
    assert (report["device"], report["effect"], report["pixels"]) == ("cpu", "ConvolutionBench", "640x360")
    assert report["latency_ms"] >= report["effect_ms"] > 0
    assert len(report["request_id"]) == 16
    assert server.metric("app_requests_total", endpoint="/process") == 1
    assert server.metric("app_request_latency_seconds_count") == 1
    assert server.metric("app_request_latency_p95_seconds") > 0


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"pixels": "big"}, "pixels"),
        ({"pixels": "0x5"}, "pixels"),
        ({"pixels": 5}, "pixels"),
        ({"iters": 0}, "iters"),
        ({"iters": 51}, "iters"),
        ({"iters": "many"}, "iters"),
        ({"iters": True}, "iters"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_a_wrong_value_is_400_and_named(serve, http, values, field):
    server = await serve()
    answer = await http.post(f"{server.url}/process", json=values)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("content", [b"[]", b"{", b"[" * 60_000, b"\xff"])
async def test_a_body_that_is_no_object_is_400(serve, http, content):
    server = await serve()
    answer = await http.post(f"{server.url}/process", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (400, "body")


@pytest.mark.parametrize(("kind", "data"), [("image/jpeg", jpeg()), ("image/png", png())])
async def test_a_picture_comes_back_changed_in_its_type(serve, http, kind, data):
    server = await serve()
    query = {"effect": "Grayscale"}
    answer = await http.post(f"{server.url}/process", params=query, content=data, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == kind
    assert (answer.headers["x-effect"], answer.headers["x-device"], answer.headers["x-size"]) == (
        "Grayscale",
        "cpu",
        "320x240",
    )
    assert answer.headers["x-request-id"]
    back = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).astype(int)
    assert np.abs(back - back.mean(axis=2, keepdims=True)).max() <= 4, "no colour is left"


async def test_raw_planes_and_parameters_in_the_query(serve, http):
    server = await serve()
    frame = generated_picture(63, 35)
    data = encode_picture(PictureType.I420, frame)
    query = {"width": 63, "height": 35, "effect": "Translate", "x": 2, "y": 0}
    headers = {"Content-Type": "video/x-raw-i420"}
    answer = await http.post(f"{server.url}/process", params=query, content=data, headers=headers)
    assert answer.status_code == 200, answer.text
    luma = np.frombuffer(answer.content, np.uint8)[: 63 * 35].reshape(35, 63)
    assert (luma[:, 2:] == frame.y[:, :-2]).all()


async def test_without_effect_a_picture_goes_through_the_pipeline(serve, http):
    server = await serve(MEDIAPOD_STAGES=[{"name": "a", "effect": "Grayscale"}, {"name": "b", "effect": "Pixelate"}])
    answer = await http.post(f"{server.url}/process", content=png(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.headers["x-effect"]) == (200, "Grayscale,Pixelate")


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"effect": "Nonsense"}, "effect", "Grayscale"),
        ({"effect": "GaussianBlur", "radius": 1000}, "radius", "99"),
        ({"effect": "GaussianBlur", "colour": 1}, "colour", "radius"),
    ],
)
async def test_a_wrong_effect_or_parameter_says_what_is_allowed(serve, http, query, field, words):
    server = await serve()
    url = f"{server.url}/process"
    answer = await http.post(url, params=query, content=png(), headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
async def test_an_enormous_picture_is_refused_by_its_header(serve, http, kind, monkeypatch):
    server = await serve()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    frame_header = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack("!HH", 20_000, 20_000) + b"\x03" + b"\0" * 20
    content = png_header(20_000, 20_000) if kind == "image/png" else frame_header
    answer = await http.post(f"{server.url}/process", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 413
    assert "20000x20000" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("image/png", b"", 400),
        ("image/png", b"nonsense", 400),
        ("image/png", png_header(64, 64), 400),
        ("image/png", png()[:200], 400),
        ("image/jpeg", b"\xff\xd8" + b"\xff" * 500, 400),
        ("image/jpeg", b"\xff\xd8\xff\xe0\x00\x00" * 50, 400),
        ("image/jpeg", png(), 400),
        ("video/x-raw-i420", b"123", 400),
        ("image/gif", b"GIF89a", 415),
        ("", b"?", 415),
    ],
)
async def test_a_body_that_is_no_picture_is_named(serve, http, kind, content, status):
    server = await serve()
    answer = await http.post(f"{server.url}/process", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_more_bytes_than_allowed_are_413(serve, http):
    server = await serve(MEDIAPOD_PROCESS_MAXIMUM_BYTES=2048)
    answer = await http.post(f"{server.url}/process", content=b"x" * 5000, headers={"Content-Type": "image/png"})
    assert answer.status_code == 413


async def test_the_token_is_needed_here_too(serve, http):
    server = await serve(MEDIAPOD_TOKEN="open-sesame")
    assert (await http.get(f"{server.url}/process")).status_code == 401
    assert (await http.get(f"{server.url}/process", headers={"Authorization": "Bearer open-sesame"})).status_code == 200


async def test_the_simulated_gpu_is_switched_only_where_allowed(serve, http):
    server = await serve()
    assert (await http.post(f"{server.url}/toggle-gpu-simulation")).status_code == 403
    assert not (await http.get(f"{server.url}/gpu-simulation-status")).json()["gpu_simulation"]


async def test_every_answer_of_the_simulated_gpu_says_so(serve, http):
    server = await serve(MEDIAPOD_ALLOW_SIMULATION_TOGGLE=True, GPU_SPEEDUP_FACTOR=25)
    assert (await http.post(f"{server.url}/toggle-gpu-simulation")).json()["gpu_simulation"] is True
    report = (await http.get(f"{server.url}/process", params={"pixels": "1280x720", "iters": 20})).json()
    assert report["device"] == "cuda-simulated"
    assert report["latency_ms"] < report["measured_latency_ms"]
    image = await http.post(f"{server.url}/process", content=png(), headers={"Content-Type": "image/png"})
    assert image.headers["x-device"] == "cuda-simulated"
    assert (await http.post(f"{server.url}/toggle-gpu-simulation")).json()["gpu_simulation"] is False
    assert (await http.get(f"{server.url}/process")).json()["device"] == "cpu"


async def test_many_different_effects_at_once_are_served_or_told_to_wait(serve, http):
    server = await serve()
    query = [{"effect": "GaussianBlur", "radius": radius} for radius in range(1, 31)]
    url, headers = f"{server.url}/process", {"Content-Type": "image/jpeg"}
    answers = await asyncio.gather(*(http.post(url, params=q, content=jpeg(), headers=headers) for q in query))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    again = await http.post(url, params=query[0], content=jpeg(), headers=headers)
    assert again.status_code == 200


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (1, 1), (641, 359)])
@pytest.mark.parametrize("kind", [PictureType.PNG, PictureType.JPEG])
def test_pictures_of_any_size_survive(kind: PictureType, size: tuple[int, int]) -> None:
    frame = generated_picture(*size)
    data = encode_picture(kind, frame)
    assert picture_size(kind, data) == size
    back = decode_picture(data)
    assert (back.width, back.height) == size
    assert back.u.shape == frame.u.shape
    assert np.abs(back.y.astype(int) - frame.y).mean() < (3 if kind is PictureType.PNG else 20)
