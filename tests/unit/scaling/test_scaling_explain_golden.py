"""Sixteen situations as `kubectl mediapipelines explain` shows them: can a person tell in ten seconds why?

The pages are tests/golden/explain/*.txt. After a wanted change: UPDATE_GOLDEN=1 pytest tests/unit/scaling, then
read the diff as a user.
"""

import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from mediapipeline_operator.cli.explain import explanation
from mediapipeline_operator.core.scaling import ProblemKind, Signals
from mediapipeline_operator.core.status import _scaling_significance, _without_empty, _written_significance

PAGES = Path(__file__).parents[2] / "golden" / "explain"


def waited(fleet, seconds):
    """The fleet at the last of its ticks, and what was decided then."""
    return replace(fleet, now=fleet.now + timedelta(seconds=seconds)), fleet.run(seconds)[-1]


def at_once(fleet):
    return fleet, fleet.tick()


def draining(make, left, others):
    """Four replicas of which the first drains; every pod has answered for itself."""
    fleet = make.fleet(4, sessions=4, p95=20, busy=0.5)
    first, *rest = fleet.workload.pods
    gone = replace(
        first,
        ready=False,
        ready_since=None,
        draining=True,
        drain_started=fleet.now - timedelta(seconds=200),
        sessions=left,
        admin_draining=True,
    )
    serving = (replace(pod, sessions=n, admin_draining=False) for pod, n in zip(rest, others, strict=True))
    return at_once(fleet.with_pods(gone, *serving))


def no_prometheus(make, **scaling):
    refused = Signals.missing(ProblemKind.DOWN, "http://prometheus.monitoring:9090 refused the connection")
    return replace(make.fleet(3, sessions=5, **scaling), signals=refused)


SITUATIONS = {
    "at-the-minimum": lambda make: waited(make.fleet(2, sessions=1, p95=15, busy=0.1), 300),
    "up-for-growing-sessions": lambda make: at_once(make.fleet(3, sessions=7, growth=0.2, busy=0.8)),
    "up-for-latency": lambda make: waited(make.fleet(3, sessions=5, p95=80, miss=0.08, policy="Threshold"), 30),
    "latency-high-not-for-long": lambda make: waited(
        make.fleet(3, sessions=5, p95=80, miss=0.08, policy="Threshold"), 10
    ),
    "not-lower-because-of-sessions": lambda make: waited(make.fleet(4, sessions=3, p95=15, busy=0.4), 200),
    "waiting-to-go-down": lambda make: waited(make.fleet(4, sessions=1, p95=15, busy=0.1), 60),
    "down": lambda make: waited(make.fleet(4, sessions=1, p95=15, busy=0.1), 120),
    "between-the-thresholds": lambda make: waited(make.fleet(3, sessions=5, p95=75, busy=0.6), 60),
    "stale": lambda make: waited(make.fleet(3, sessions=5, age=60.0), 90),
    "prometheus-down-fallback": lambda make: waited(no_prometheus(make, fallback={"replicas": 5}), 190),
    "at-the-maximum": lambda make: waited(make.fleet(4, sessions=8, p95=80, miss=0.1, maxReplicas=4, busy=1.0), 60),
    "a-drain-waits": lambda make: draining(make, 2, (4, 4, 4)),
    "a-drained-replica-goes": lambda make: draining(make, 0, (4, 4, 4)),
    "another-one-is-empty": lambda make: draining(make, 2, (0, 4, 4)),
    "advisory": lambda make: at_once(make.fleet(3, sessions=7, p95=20, mode="Advisory")),
    "paused": lambda make: at_once(make.fleet(3, sessions=2, p95=20, paused=True)),
}


def page(fleet, outcome):
    """What is printed on a terminal of 110 columns."""
    live = [pod for pod in fleet.workload.pods if not pod.terminating]
    status = {
        "replicas": len(live),
        "readyReplicas": sum(pod.ready for pod in live),
        "desiredReplicas": outcome.desired_replicas,
        "latency": outcome.latency_status,
        "autoscaling": outcome.autoscaling_status,
    }
    resource = {"metadata": {"namespace": "media", "name": "studio"}, "status": json.loads(json.dumps(status))}
    console = Console(width=110, force_terminal=False)
    with console.capture() as captured:
        console.print(explanation(resource, fleet.now))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_the_page_is_that_of_the_golden_file(make, name):
    golden = PAGES / f"{name}.txt"
    text = page(*SITUATIONS[name](make))
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_page_is_left_over():
    assert sorted(path.stem for path in PAGES.glob("*.txt")) == sorted(SITUATIONS)


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_the_answer_is_on_the_first_two_lines(make, name):
    """The numbers and the reason, before any table; and no sentence was cut at the length that status allows."""
    lines = page(*SITUATIONS[name](make)).splitlines()
    assert "wanted" in lines[0]
    assert " because " in lines[1]
    outcome = SITUATIONS[name](make)[1]
    assert len(outcome.text) <= 256, outcome.text


@pytest.mark.parametrize("name", list(SITUATIONS))
def test_what_a_pass_compares_is_what_the_whole_status_would_say(make, name):
    """A pass that writes no status does not make one; what it compares instead must not differ from it."""
    _, outcome = SITUATIONS[name](make)
    whole = _without_empty({"autoscaling": outcome.autoscaling_status})["autoscaling"]
    assert _scaling_significance({}, outcome) == _written_significance(whole)
