"""The service account's token rotates: the file is read anew, and a moment without it is no end."""

import datetime
from pathlib import Path

import pytest
import yaml
from kubernetes.config import incluster_config, kube_config

from mediapipeline_operator.shell.cluster.credentials import Credentials, load_credentials
from mediapipeline_operator.shell.cluster.errors import UnauthorizedError


class _LaterClock(datetime.datetime):
    minutes = 0

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_LaterClock":
        return super().now(tz) + datetime.timedelta(minutes=cls.minutes)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("first")
    return file


@pytest.fixture
def credentials(token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Credentials:
    certificate = tmp_path / "ca.crt"
    certificate.write_text("certificates")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token_file))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    monkeypatch.setattr(incluster_config.datetime, "datetime", _LaterClock)
    monkeypatch.setattr(_LaterClock, "minutes", 0)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return load_credentials()


def test_a_rotated_token_is_read_within_a_minute(
    credentials: Credentials, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert credentials.authorization() == "bearer first"
    token_file.write_text("second")
    monkeypatch.setattr(_LaterClock, "minutes", 1)
    assert credentials.authorization() == "bearer second"


def test_a_token_that_cannot_be_read_is_trouble_with_the_cluster_and_passes(
    credentials: Credentials, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_file.unlink()
    monkeypatch.setattr(_LaterClock, "minutes", 1)
    with pytest.raises(UnauthorizedError, match="token cannot be read"):
        credentials.authorization()
    token_file.write_text("third")
    assert credentials.authorization() == "bearer third"


def test_a_refused_token_is_read_anew_at_once(credentials: Credentials, token_file: Path) -> None:
    token_file.write_text("second")
    assert credentials.authorization() == "bearer first"
    credentials.refused()
    assert credentials.authorization() == "bearer second"


def test_a_refused_token_of_a_kubeconfig_is_read_anew(
    token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"tokenFile": str(token_file)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    credentials = load_credentials()
    assert credentials.authorization() == "Bearer first"
    token_file.write_text("second")
    credentials.refused()
    assert credentials.authorization() == "Bearer second"
    token_file.unlink()
    credentials.refused()
    assert credentials.authorization() == "Bearer second"
