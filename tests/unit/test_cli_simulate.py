"""`kubectl mediapipelines simulate` and `backtest`: what people see, also when they type nonsense."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest
from typer.testing import CliRunner

from mediapipeline_operator.cli.__main__ import app
from mediapipeline_operator.cli.backtest import seconds_of

PIPELINE = """
apiVersion: v1
kind: Namespace
metadata: {name: media}
---
apiVersion: media.rtcscale.dev/v1alpha1
kind: MediaPipeline
metadata: {name: studio}
spec:
  pipeline: {stages: [{name: soften, effect: GaussianBlur}]}
  autoscaling: {maxReplicas: 4}
"""


@pytest.fixture
def pipeline(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(PIPELINE)
    return str(path)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    return lambda *words: CliRunner().invoke(app, list(words))


def short_load(tmp_path, text="seconds,sessions\n0,4\n120,15\n600,4\n"):
    path = tmp_path / "load.csv"
    path.write_text(text)
    return str(path)


def test_a_csv_load_is_run_with_peers_and_drawn(run, pipeline, tmp_path):
    chart = tmp_path / "out.png"
    load = short_load(tmp_path)
    result = run("simulate", "-f", pipeline, "--load", load, "--compare", "hpa,keda,kpa+drain", "--plot", str(chart))
    assert result.exit_code == 0, result.output
    for word in ("ours SLO", "HPA p95", "KEDA default", "KPA sessions + drain", "clairvoyant"):
        assert word in result.output
    assert chart.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--load", "nowhere"), "neither a file nor one of"),
        (("--compare", "nomad"), "one of"),
        (("--startup-seconds", "0"), "startup"),
    ],
)
def test_nonsense_is_answered_with_the_way_out(run, pipeline, words, says):
    result = run("simulate", "-f", pipeline, *words)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(
    "text",
    ["time,load\n0,1\n", "seconds,sessions\n0,many\n", "seconds,sessions\n5,1\n5,2\n", "seconds,sessions\n0,nan\n"],
)
def test_a_broken_csv_names_what_is_wrong(run, pipeline, tmp_path, text):
    result = run("simulate", "-f", pipeline, "--load", short_load(tmp_path, text))
    assert result.exit_code == 2


def test_a_broken_spec_names_the_field(run, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text(PIPELINE.replace("maxReplicas: 4", "maxReplicas: 0"))
    result = run("simulate", "-f", str(path))
    assert result.exit_code == 2
    assert "maxReplicas" in result.output


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86400), ("7d", 604800)])
def test_durations(text, seconds):
    assert seconds_of(text) == seconds


class Prometheus(BaseHTTPRequestHandler):
    """Answers range queries with a constant: 12 sessions, one new in 20 s, 3 pods."""

    empty = False

    def do_GET(self):
        asked = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
        query, start, end = asked["query"], float(asked["start"]), float(asked["end"])
        value = "12" if "mediapod_sessions" in query else "0.05" if "accepted" in query else "3"
        times = [start + i * float(asked["step"]) for i in range(int((end - start) / float(asked["step"])) + 1)]
        series = [] if self.empty or "rejected" in query else [{"metric": {}, "values": [[t, value] for t in times]}]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def prometheus():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_a_backtest_replays_the_history(run, pipeline, prometheus):
    words = ("studio", "-n", "media", "-f", pipeline, "--prometheus-url", prometheus, "--since", "20m")
    result = run("backtest", *words, "--compare", "kpa")
    assert result.exit_code == 0, result.output
    assert "media/studio, last 20m" in result.output
    assert "KPA sessions" in result.output
    assert "what really ran: 1.01 replica-hours" in result.output  # 3 pods, 81 points of 15 s


def test_a_backtest_without_history_says_so(run, pipeline, prometheus, monkeypatch):
    monkeypatch.setattr(Prometheus, "empty", True)
    result = run("backtest", "studio", "-f", pipeline, "--prometheus-url", prometheus, "--since", "20m")
    assert result.exit_code == 2
    assert "no sessions in that time" in result.output


def test_a_backtest_without_prometheus_says_which(run, pipeline):
    result = run("backtest", "studio", "-f", pipeline, "--prometheus-url", "http://127.0.0.1:9", "--since", "20m")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9" in result.output
