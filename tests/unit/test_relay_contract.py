"""From spec and Secret to the mediapod's settings: what the operator writes for TURN is what the mediapod reads."""

from typing import Any

import pytest
import yaml

from devcluster.node.downward import PodFacts
from devcluster.node.environment import ObjectKey, container_environment
from mediapipeline_operator.api.pipeline import MediaPipeline
from mediapipeline_operator.core.resources import BuildSettings, desired
from mediapod.settings import InvalidSettings, Settings, load_settings

FACTS = PodFacts(
    {"metadata": {"name": "p", "namespace": "media", "uid": "u"}, "spec": {}}, "127.0.0.1", "127.0.0.1", "node", {}
)
URIS = ["turn:turn.example.com:3478?transport=udp", "turns:turn.example.com"]


def settings_of(monkeypatch: pytest.MonkeyPatch, media: dict[str, Any], secret: dict[str, str] | None) -> Settings:
    """The settings of a pod of a pipeline with this media exposure, in a namespace with this Secret `turn`."""
    spec = {
        "pipeline": {"stages": [{"name": "soften", "effect": "GaussianBlur"}]},
        "compute": {"device": "CPU"},
        "networking": {"media": media},
    }
    meta = {"name": "studio", "namespace": "media", "uid": "u", "resourceVersion": "1"}
    pipeline = MediaPipeline.from_object({"metadata": meta, "spec": spec})
    deployment = next(m for m in desired(pipeline, BuildSettings("example.org/a:1")) if m["kind"] == "Deployment")
    container = yaml.safe_load(yaml.safe_dump(deployment["spec"]["template"]["spec"]["containers"][0]))
    contents = {ObjectKey("Secret", "turn"): secret}
    for name, value in container_environment(container, FACTS, contents, {}).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_a_shared_secret_and_relayed_media(monkeypatch: pytest.MonkeyPatch) -> None:
    media = {"mode": "Relay", "turnURIs": URIS, "turnSecretName": "turn"}
    settings = settings_of(monkeypatch, media, {"secret": "north"})
    assert settings.relay
    assert settings.turn_uris == URIS
    assert settings.turn_secret is not None
    assert settings.turn_secret.get_secret_value() == "north"


def test_one_user_and_media_at_the_pods_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    media = {"turnURIs": URIS, "turnSecretName": "turn"}
    settings = settings_of(monkeypatch, media, {"username": "alice", "password": "wonder"})
    assert not settings.relay
    assert settings.turn_username == "alice"


@pytest.mark.parametrize("secret", [None, {}, {"username": "alice"}, {"token": "north"}])
def test_a_secret_without_its_keys_is_named(monkeypatch: pytest.MonkeyPatch, secret: dict[str, str] | None) -> None:
    with pytest.raises(InvalidSettings, match=r"in the Secret networking\.media\.turnSecretName the key secret"):
        settings_of(monkeypatch, {"mode": "Relay", "turnURIs": URIS, "turnSecretName": "turn"}, secret)


def test_without_turn_nothing_of_it_is_in_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, {}, None)
    assert (settings.relay, settings.turn_uris, settings.turn_secret) == (False, [], None)
