"""The example model, built here, runs in a pipeline, and a session sees what it does."""

import runpy
import warnings
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: the user's model cannot run")

pytestmark = pytest.mark.media
BUILDER = Path(__file__).parents[2] / "examples" / "torch-module" / "build_model.py"


async def test_a_session_sees_what_the_mounted_example_model_does(serve, tmp_path, eventually):
    model = tmp_path / "warm.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        runpy.run_path(str(BUILDER))["build"](str(model))
        mine = {"name": "mine", "effect": "TorchModule", "parameters": {"model": str(model)}}
        server = await serve(MEDIAPOD_STAGES=[mine], MEDIAPOD_FRAME_DEADLINE_MILLISECONDS=10_000)
    client = server.client(width=160, height=120, frames_per_second=5)
    grey = np.vstack([np.full((120, 160), 150, np.uint8), np.full((60, 160), 128, np.uint8)])
    client.connection.getTransceivers()[0].sender.track._pictures = [
        av.VideoFrame.from_ndarray(grey, format="yuv420p") for _ in range(2)
    ]
    await client.connect()

    def edges_are_darker_and_greys_are_warm() -> bool:
        if not client.pictures:
            return False
        planes = client.pictures[-1].to_ndarray(format="yuv420p")
        luma, red = planes[:120], planes[150:].reshape(-1, 80)
        corners, middle = luma[[0, 0, -1, -1], [0, -1, 0, -1]], luma[50:70, 70:90]
        return float(np.mean(corners)) < float(middle.mean()) - 10 and float(red.mean()) > 130

    await eventually(edges_are_darker_and_greys_are_warm, 120, lambda: str(server.results()))
    assert server.results()["error"] == 0
