"""`kubectl mediapipelines backtest` on a real Prometheus whose database holds two hours of a pipeline's life."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2e.real_prometheus import Series, record, running
from mediapipeline_operator.cli.__main__ import app

MINUTES = 60
STEP_SECONDS = 15
SESSION_SECONDS = 240.0
PIPELINE = """
apiVersion: media.rtcscale.dev/v1alpha1
kind: MediaPipeline
metadata: {name: studio, namespace: media}
spec:
  pipeline: {stages: [{name: soften, effect: GaussianBlur}]}
  autoscaling: {maxReplicas: 6}
"""
Run = Callable[..., str]


def sessions(age: float) -> float:
    """An evening: 6 sessions, 24 in the middle 20 minutes, 6 again. `age`: seconds since the start of the recording."""
    return 24.0 if 20 * 60 <= age < 40 * 60 else 6.0


def begun(age: float) -> float:
    """Sessions that have begun so far: what leaves is replaced, what grows is added."""
    middle, end = 20 * 60, 40 * 60
    total = min(age, middle) * 6 / SESSION_SECONDS
    if age >= middle:
        total += 18 + (min(age, end) - middle) * 24 / SESSION_SECONDS
    return total + max(0.0, age - end) * 6 / SESSION_SECONDS


def history(start: float) -> Series:
    """Two pods for the whole time, two more in the middle; the process of the first restarts halfway; one sample of it
    was lost, one is not a number.
    """
    pods: dict[str, tuple[float, float]] = {"a": (0, 1e9), "b": (0, 1e9), "c": (1200, 2460), "d": (1200, 2460)}
    series: dict[str, Callable[[float], float | str | None]] = {}
    for pod, (first, last) in pods.items():
        labels = f'namespace="media",pipeline="studio",pod="{pod}"'
        alive = _alive(start, first, last)
        series[f"up{{{labels}}}"] = alive(lambda age: 1.0)
        share = 0.5 if pod in "ab" else 0.0
        series[f"mediapod_sessions{{{labels}}}"] = alive(
            lambda age, share=share: _odd(age, share) or share * sessions(age)
        )
        for result, value in {"accepted": share, "rejected_capacity": 0.0}.items():
            counter = f'mediapod_offers_total{{{labels},result="{result}"}}'
            reset = 1500 if pod == "a" else 1e9
            series[counter] = alive(
                lambda age, value=value, reset=reset: value * (begun(age) - begun(reset) * (age >= reset))
            )
    return series


def _odd(age: float, share: float) -> str | None:
    return "NaN" if share and round(age) == 900 else None


def _alive(start: float, first: float, last: float) -> Callable[..., Callable[[float], float | str | None]]:
    """Samples while the pod lives, but for one lost scrape."""

    def wrap(value: Callable[[float], float | str]) -> Callable[[float], float | str | None]:
        def at(time_seconds: float) -> float | str | None:
            age = time_seconds - start
            return value(age) if first <= age <= last and round(age) != 600 else None

        return at

    return wrap


@pytest.fixture(scope="module")
def url(binaries: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, now = tmp_path_factory.mktemp("history"), float(int(time.time()))
    start = now - MINUTES * 60
    record(binaries["promtool"], folder, history(start), start, now, STEP_SECONDS)
    with running(binaries["prometheus"], folder) as address:
        yield address


@pytest.fixture
def run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "150")
    path = tmp_path / "pipeline.yaml"
    path.write_text(PIPELINE)

    def backtest(*words: str, name: str = "studio", code: int = 0) -> str:
        fixed = ("backtest", name, "-n", "media", "-f", str(path), "--prometheus-url", url)
        result = CliRunner().invoke(app, [*fixed, *words])
        assert result.exit_code == code, result.output
        return str(result.output)

    return backtest


def test_the_recorded_evening_is_replayed(run: Run, tmp_path: Path) -> None:
    chart = tmp_path / "chart.png"
    output = run("--since", "60m", "--compare", "hpa,keda", "--plot", str(chart))
    ran = re.search(r"what really ran: ([\d.]+) replica-hours", output)
    assert ran is not None
    # two for an hour, two for 21 minutes; a recording has no staleness markers, so they count for the five minutes
    # after which Prometheus takes no notice of a sample any more
    assert float(ran[1]) == pytest.approx(2 + 2 * (1260 + 300) / 3600, rel=0.02)
    visits = re.search(r"last 60m: (\d+) sessions", output)
    assert visits is not None
    # 6 at the start, 18 at the rise, and 6 or 24 every 240 s for the rest: about 184 (Poisson)
    assert 130 <= int(visits[1]) <= 240
    rows = {line.split("  ")[0].strip("│ "): line for line in output.splitlines()}
    assert {"ours SLO", "HPA p95", "KEDA default"} <= {name.strip() for name in rows}
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_a_shorter_past_is_another_load(run: Run) -> None:
    """The last 12 minutes are calm: nobody is refused even by the smallest fleet."""
    output = run("--since", "12m", "--compare", "min")
    ran = re.search(r"what really ran: ([\d.]+) replica-hours", output)
    assert ran is not None
    assert float(ran[1]) == pytest.approx(0.4, rel=0.05)
    row = next(line for line in output.splitlines() if "static min" in line)
    missed, refused = (float(word) for word in re.findall(r"[\d.]+", row)[:2])
    assert (missed, refused) == (0.0, 0.0)


def test_a_pipeline_without_a_past_is_told_so(run: Run) -> None:
    assert "no sessions in that time" in run("--since", "15m", name="nobody", code=2)
