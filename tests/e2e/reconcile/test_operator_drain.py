"""The one actuator on a real API server: mark, drain, wait for the sessions, lower; and un-drain.

Pods answer for themselves, as mediapods would.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

Eventually = Callable[..., Any]
DRAINING = "media.rtcscale.dev/draining"
ADMIN_PORT = 9090


class Pod:
    """Stands in for a mediapod's admin port, and for the kubelet that reports its readiness."""

    def __init__(self, world: Any, name: str, sessions: int) -> None:
        self.world = world
        self.name = name
        self.sessions = sessions
        self.draining = False
        self.address = f"127.{secrets.randbelow(20) + 70}.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        self.server = ThreadingHTTPServer((self.address, ADMIN_PORT), self._handler())
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.report()

    def report(self) -> None:
        """Writes the pod's status as a kubelet would."""
        state = "False" if self.draining else "True"
        ready = {"type": "Ready", "status": state, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        status = {"phase": "Running", "podIP": self.address, "conditions": [ready]}
        self.world.patch("Pod", self.name, {"status": status}, "status")

    def answer(self, method: str, path: str) -> dict[str, Any]:
        if path == "/drain":
            self.draining = method == "POST"
            self.report()
            return {"draining": self.draining, "sessions": self.sessions}
        return {"draining": self.draining, "active": self.sessions, "pending": 0, "capacity": 8, "sessions": []}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pod = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                body = json.dumps(pod.answer(self.command, self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _reply  # noqa: N815  names that http.server looks for

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def pods_of(world: Any) -> Iterator[Callable[[int], dict[str, Pod]]]:
    """`pods_of(sessions)` makes all pods of the namespace ready, each with so many sessions."""
    made: list[Pod] = []

    def make(sessions: int) -> dict[str, Pod]:
        found = {
            item["metadata"]["name"]: Pod(world, item["metadata"]["name"], sessions) for item in world.items("Pod")
        }
        made.extend(found.values())
        return found

    yield make
    for pod in made:
        pod.close()


def _marked(world: Any) -> list[str]:
    return [item["metadata"]["name"] for item in world.items("Pod") if DRAINING in item["metadata"]["labels"]]


def _replicas(world: Any) -> int:
    count: int = world.get("Deployment", "studio")["spec"]["replicas"]
    return count


def _three_ready(world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually) -> dict[str, Pod]:
    world.pipeline(autoscaling={"engine": "None"}, replicas=3)
    eventually(lambda: len(world.items("Pod")) == 3, "three pods")
    pods = pods_of(2)
    eventually(lambda: world.condition("Ready").get("status") == "True", "the pipeline to be ready")
    return pods


def test_a_replica_leaves_only_when_its_sessions_have_ended(
    operator: Any, world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    victim = next(pod for pod in pods.values() if pod.draining)
    eventually(lambda: world.condition("Draining").get("status") == "True", "the condition")
    assert _marked(world) == [victim.name]
    eventually(lambda: world.get("PodDisruptionBudget", "studio")["spec"]["maxUnavailable"] == 2, "room for the drain")
    time.sleep(4.0)
    assert _replicas(world) == 3  # two sessions are left
    victim.sessions = 0
    eventually(lambda: _replicas(world) == 2, "the smaller number")
    eventually(lambda: len(world.items("Pod")) == 2, "the pod to go")
    assert victim.name not in {item["metadata"]["name"] for item in world.items("Pod")}
    eventually(lambda: world.condition("Draining").get("status") == "False", "the end of the drain")
    eventually(lambda: {"DrainStarted", "DrainCompleted"} <= set(world.reasons()), "both events")


def test_a_drain_is_undone_when_the_replica_is_needed_again(
    operator: Any, world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 3}})
    eventually(lambda: not any(pod.draining for pod in pods.values()), "the pod to take sessions again")
    eventually(lambda: _marked(world) == [], "the mark to go")
    assert _replicas(world) == 3
    assert len(world.items("Pod")) == 3


def test_a_restarted_operator_goes_on_with_a_drain(
    start_operator: Callable[..., Any], world: Any, pods_of: Callable[[int], dict[str, Pod]], eventually: Eventually
) -> None:
    first = start_operator()
    pods = _three_ready(world, pods_of, eventually)
    world.patch("MediaPipeline", "studio", {"spec": {"replicas": 2}})
    eventually(lambda: any(pod.draining for pod in pods.values()), "a drain")
    victim = next(pod for pod in pods.values() if pod.draining)
    first.kill()
    victim.draining = False  # its container was restarted meanwhile, and forgot
    victim.report()
    start_operator()
    eventually(lambda: victim.draining, "the drain to be asked for again")
    victim.sessions = 0
    eventually(lambda: len(world.items("Pod")) == 2, "the pod to go")
    assert victim.name not in {item["metadata"]["name"] for item in world.items("Pod")}
