"""The operator's settings: flags, environment, what is refused, and that each is described."""

import pytest
from pydantic import ValidationError

from mediapipeline_operator.api.reasons import CONDITION_MEANINGS, EVENT_MEANINGS, ConditionType, EventReason
from mediapipeline_operator.runtime.settings import Settings, load_settings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIAPIPELINE_OPERATOR_LOG_FORMAT", "text")
    monkeypatch.setenv("MEDIAPIPELINE_OPERATOR_LOG_LEVEL", "DEBUG")
    settings = load_settings(["--log-level=WARNING", "--namespaces=a, b"])
    assert (settings.log_format, settings.log_level, settings.watched_namespaces) == ("text", "WARNING", ("a", "b"))


def test_headers_reach_the_reader_and_the_manifests() -> None:
    settings = load_settings(["--prometheus-headers=X-Scope-OrgID=media, X-Other=a=b"])
    wanted = {"X-Scope-OrgID": "media", "X-Other": "a=b"}
    assert settings.prometheus().headers == wanted
    assert settings.build().prometheus_headers == wanted


@pytest.mark.parametrize(
    "flag", ["--prometheus-headers=tenant", "--service-monitor-labels=release", "--log-format=xml", "--log-level=LOUD"]
)
def test_a_wrong_value_is_refused(flag: str) -> None:
    with pytest.raises((ValidationError, SystemExit)):
        load_settings([flag])


def test_every_setting_is_described() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_every_condition_and_event_has_its_meaning() -> None:
    assert CONDITION_MEANINGS.keys() == set(ConditionType)
    assert EVENT_MEANINGS.keys() == set(EventReason)
