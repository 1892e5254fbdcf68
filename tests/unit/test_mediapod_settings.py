"""Settings: environment names, defaults, and messages that name the variable."""

import json
import subprocess
import sys

import pytest

from mediapod.settings import InvalidSettings, load_settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for name in ("LOG_LEVEL", "POD_IP", "POD_NAME"):
        monkeypatch.delenv(name, raising=False)


def load(monkeypatch, **environment: str):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_an_empty_environment_is_enough(monkeypatch):
    settings = load(monkeypatch)
    assert (settings.http_port, settings.admin_port, settings.max_sessions) == (8080, 9090, 100)
    assert settings.address == "0.0.0.0"
    assert settings.media_ports is None
    assert settings.maximum_seconds is None


def test_the_operator_s_environment_is_understood(monkeypatch):
    stages = [{"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}]
    settings = load(
        monkeypatch,
        POD_IP="127.64.0.9",
        MEDIAPOD_STAGES=json.dumps(stages),
        MEDIAPOD_ALLOWED_ORIGINS='["https://example.org"]',
        MEDIAPOD_ADVERTISED_ADDRESSES='["192.0.2.7"]',
        MEDIAPOD_MEDIA_PORT_RANGE="40000-40010",
        MEDIAPOD_DEVICE="Simulated",
        MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS="4",
        MAX_SESSIONS_PER_POD="8",
    )
    assert settings.address == "127.64.0.9"
    assert settings.stages[0].effect == "GaussianBlur"
    assert settings.media_ports == (40000, 40010)
    assert settings.service_time_seconds == 0.004


@pytest.mark.parametrize(
    ("environment", "device"),
    [
        ({}, "Auto"),
        ({"CUDA_WANTED": "0"}, "CPU"),
        ({"GPU_SIMULATION": "true"}, "Simulated"),
        ({"MEDIAPOD_DEVICE": "GPU", "CUDA_WANTED": "false"}, "GPU"),
    ],
)
def test_the_reference_documents_switches_choose_the_device(monkeypatch, environment, device):
    assert load(monkeypatch, **environment).effective_device == device


def test_the_speedup_factor_sets_the_simulated_service_time(monkeypatch):
    assert load(monkeypatch).service_time_seconds == pytest.approx(0.010)
    assert load(monkeypatch, GPU_SPEEDUP_FACTOR="50").service_time_seconds == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDIAPOD_STAGES", "not json"),
        ("MEDIAPOD_STAGES", '[{"name": "a"}]'),
        ("MEDIAPOD_HTTP_PORT", "70000"),
        ("MAX_SESSIONS_PER_POD", "0"),
        ("WEBRTC_TIMEOUT", "soon"),
        ("MEDIAPOD_LATE_POLICY", "Keep"),
        ("MEDIAPOD_DEVICE", "TPU"),
        ("MEDIAPOD_MEDIA_PORT_RANGE", "10-9"),
        ("MEDIAPOD_BIND_ADDRESS", "localhost"),
        ("MEDIAPOD_ADVERTISED_ADDRESSES", '["host"]'),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch, name, value):
    with pytest.raises(InvalidSettings, match=name):
        load(monkeypatch, **{name: value})


TURN = {"MEDIAPOD_TURN_URIS": '["turn:turn.example.com"]'}
USER = {"MEDIAPOD_TURN_USERNAME": "alice", "MEDIAPOD_TURN_PASSWORD": "wonder"}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (TURN, "networking.media.turnSecretName the key secret, or the keys username and password"),
        ({**TURN, "MEDIAPOD_TURN_USERNAME": "alice"}, "MEDIAPOD_TURN_URIS needs either MEDIAPOD_TURN_SECRET"),
        ({**TURN, **USER, "MEDIAPOD_TURN_SECRET": "north"}, "MEDIAPOD_TURN_URIS needs either MEDIAPOD_TURN_SECRET"),
        ({"MEDIAPOD_RELAY": "true"}, "MEDIAPOD_RELAY needs MEDIAPOD_TURN_URIS"),
        ({"MEDIAPOD_TURN_URIS": '["stun:a"]'}, "must look like turn:host:port"),
    ],
)
def test_turn_settings_that_do_not_go_together_are_named(monkeypatch, environment, words):
    with pytest.raises(InvalidSettings, match=words):
        load(monkeypatch, **environment)


def test_turn_settings_that_go_together(monkeypatch):
    assert load(monkeypatch, **TURN, MEDIAPOD_TURN_SECRET="north", MEDIAPOD_RELAY="true").relay


def test_the_password_of_a_turn_user_is_never_shown(monkeypatch):
    assert "wonder" not in repr(load(monkeypatch, **TURN, **USER))


def test_a_token_is_never_shown(monkeypatch):
    settings = load(monkeypatch, MEDIAPOD_TOKEN="secret-value")
    assert "secret-value" not in repr(settings)


def test_the_process_refuses_a_wrong_setting_with_exit_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "mediapod"],
        env={"MAX_SESSIONS_PER_POD": "-1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 2
    assert "MAX_SESSIONS_PER_POD" in done.stderr


def test_the_process_refuses_an_unknown_effect_with_exit_code_2_and_lists_the_effects():
    stages = json.dumps([{"name": "a", "effect": "Sparkle"}])
    environment = {"MEDIAPOD_STAGES": stages, "MEDIAPOD_DEVICE": "CPU", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "mediapod"], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 2
    assert "stages[0].effect" in done.stderr
    assert "GaussianBlur" in done.stderr
