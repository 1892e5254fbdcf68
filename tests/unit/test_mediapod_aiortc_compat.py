"""The self-test of the private names of aiortc fails loudly when one is missing."""

import importlib.metadata

import pytest
from aiortc import RTCRtpReceiver, RTCRtpSender

from mediapod.rtc import compat


async def test_the_installed_aiortc_has_every_name():
    await compat.self_test()


@pytest.mark.parametrize(("owner", "name"), [(RTCRtpSender, "_next_encoded_frame"), (RTCRtpReceiver, "_run_rtcp")])
async def test_a_missing_name_is_reported(monkeypatch, owner, name):
    monkeypatch.delattr(owner, name)
    with pytest.raises(compat.IncompatibleAiortc, match=f"{owner.__name__} has no {name}"):
        await compat.self_test()


async def test_another_version_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9")
    with pytest.raises(compat.IncompatibleAiortc, match=r"aiortc 9\.9 is installed, 1\.16\."):
        await compat.self_test()
