"""`kubectl mediapipelines explain`: the page says why, from the status alone."""

import json

from rich.console import Console
from typer.testing import CliRunner

from mediapipeline_operator.cli.__main__ import app
from mediapipeline_operator.cli.explain import explanation


def page(status):
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(explanation({"metadata": {"namespace": "media", "name": "studio"}, "status": status}))
    return captured.get()


def status_of(outcome):
    return json.loads(json.dumps({"replicas": 3, "readyReplicas": 3, "autoscaling": outcome.autoscaling_status}))


def test_the_page_says_why_it_is_not_lower(make):
    text = page(status_of(make.fleet(3, sessions=5).run(130)[-1]))
    assert "media/studio" in text
    assert "data Fresh" in text
    assert "2 replicas would be 94 % used (limit 70 %)" in text
    assert "SessionsAfterRemoval" in text
    assert "FrameLatency" in text
    assert "20 ms" in text


def test_the_page_lists_the_last_decisions_and_drains(make):
    fleet = make.fleet(3, sessions=1)
    outcome = fleet.run(120)[-1]
    text = page(status_of(outcome))
    assert "down 3→2 because" in text
    assert "pod-" in text


def test_unknown_is_not_shown_as_zero(make):
    fleet = make.fleet(3, age=60.0)
    text = page(status_of(fleet.tick()))
    assert "data Stale" in text
    assert "one fewer would be   unknown" in text


def test_a_new_pipeline_has_a_page_too():
    assert "Nothing has been decided yet" in page({})


def test_without_a_cluster_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = CliRunner().invoke(app, ["explain", "studio"])
    assert result.exit_code == 1
    assert "KUBECONFIG" in result.output
