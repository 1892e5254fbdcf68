"""What a scenario works with: a namespace, operators behind fault proxies, pods that get ready, and the records."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from devcluster.controlplane import ControlPlane, Mutation
from faults.proxy import FaultProxy, Gate, held

Json = dict[str, Any]
COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/api/v1/namespaces/{}/events",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "MediaPipeline": "/apis/media.rtcscale.dev/v1alpha1/namespaces/{}/mediapipelines",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}
CHILD_KINDS = tuple(COLLECTIONS)[:7]
LEASE = "mediapipeline-operator"
LEASE_SECONDS = 6
START_SECONDS = 60.0  # a process on a busy machine
WAIT_SECONDS = 45.0
_WRAPPER = Path(__file__).with_name("mutants.py")


class OracleError(AssertionError):
    """An oracle does not hold; `oracle` is its number in docs/design/2026-11-21-fault-suite.md."""

    def __init__(self, oracle: str, detail: str) -> None:
        super().__init__(f"{oracle}: {detail}")
        self.oracle = oracle


def eventually(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS, oracle: str = "O12") -> Any:
    """Polls until the condition gives something true. Raises OracleError naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise OracleError(oracle, f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return found


class World:
    """One namespace of the cluster, as the administrator."""

    def __init__(self, api: httpx.Client, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        return COLLECTIONS[kind].format(self.namespace) + (f"/{name}" if name else "")

    def get(self, kind: str, name: str) -> Json | None:
        """The object, None when there is none (or no such kind)."""
        response = self.api.get(self.path(kind, name))
        if response.status_code == 404:
            return None
        found: Json = response.raise_for_status().json()
        return found

    def items(self, kind: str) -> list[Json]:
        response = self.api.get(self.path(kind))
        found: list[Json] = [] if response.status_code == 404 else response.raise_for_status().json()["items"]
        return [{**item, "kind": kind} for item in found]

    def create(self, kind: str, body: Json) -> Json:
        response = self.api.post(self.path(kind), json=body)
        assert response.status_code == 201, response.text
        created: Json = response.json()
        return created

    def patch(self, kind: str, name: str, body: Json, subresource: str = "") -> httpx.Response:
        """A merge patch."""
        tail = f"/{subresource}" if subresource else ""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.api.patch(self.path(kind, name) + tail, json=body, headers=headers)

    def change(self, name: str, spec: Json) -> None:
        """Edits a pipeline's spec."""
        self.patch("MediaPipeline", name, {"spec": spec}).raise_for_status()

    def delete(self, kind: str, name: str) -> None:
        response = self.api.delete(self.path(kind, name))
        assert response.status_code in (200, 202, 404), response.text

    def pipeline(self, name: str, **spec: Any) -> Json:
        """Creates a MediaPipeline with one blur stage, an Ingress and `spec`."""
        stage = {"name": "soften", "effect": "GaussianBlur", "parameters": {"radius": 7}}
        plain = {
            "pipeline": {"stages": [stage]},
            "compute": {"device": "CPU"},
            "networking": {"ingress": {"host": f"{name}.example.org"}},
        }
        body = {
            "apiVersion": "media.rtcscale.dev/v1alpha1",
            "kind": "MediaPipeline",
            "metadata": {"name": name},
            "spec": plain | spec,
        }
        return self.create("MediaPipeline", body)

    def status(self, name: str) -> Json:
        status: Json = (self.get("MediaPipeline", name) or {}).get("status") or {}
        return status

    def condition(self, name: str, kind: str) -> Json:
        """A condition, {} without it."""
        return next((item for item in self.status(name).get("conditions") or () if item["type"] == kind), {})

    def replicas(self, name: str) -> int:
        found = self.get("Deployment", name)
        return int(found["spec"].get("replicas", 1)) if found else 0

    def children(self, name: str) -> list[Json]:
        """All objects that belong, by label or by name, to the pipeline."""
        label = {"media.rtcscale.dev/pipeline": name}.items()
        return [
            item
            for kind in CHILD_KINDS
            for item in self.items(kind)
            if label <= (item["metadata"].get("labels") or {}).items() or item["metadata"]["name"] == name
        ]


class Kubelet(threading.Thread):
    """Says of each new pod that it runs and is ready; there is no node in this cluster."""

    def __init__(self, world: World) -> None:
        super().__init__(name=f"kubelet-{world.namespace}", daemon=True)
        self._world = world
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join(10)

    def run(self) -> None:
        while not self._stopped.wait(0.2):
            try:
                waiting = [pod for pod in self._world.items("Pod") if not pod.get("status", {}).get("podIP")]
                for pod in waiting:
                    self._start(pod["metadata"]["name"])
            except (httpx.HTTPError, ValueError):
                continue  # etcd or the API server is being restarted

    def _start(self, name: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        status = {"phase": "Running", "podIP": "127.64.255.254", "conditions": conditions}
        self._world.patch("Pod", name, {"status": status}, "status")


@dataclass
class Operator:
    """One running process of the operator, behind a proxy of its own."""

    process: subprocess.Popen[bytes]
    proxy: FaultProxy
    log: Path
    port: int
    started: float = field(default_factory=time.monotonic)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def leads(self) -> bool:
        """Whether it has led by now."""
        return "leadership_acquired" in self.text()

    def ready(self) -> bool:
        return self.get("/readyz") == 200

    def get(self, path: str) -> int:
        """HTTP status of the health server, 0 without an answer."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=2).status_code
        except httpx.HTTPError:
            return 0

    def page(self, path: str) -> str:
        """A page of the health server."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).text

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def alive(self) -> bool:
        return self.process.poll() is None

    def resident_kib(self) -> int:
        """Resident memory."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def handles(self) -> int:
        """Open files and threads."""
        proc = Path(f"/proc/{self.process.pid}")
        return sum(1 for folder in ("fd", "task") for _ in (proc / folder).iterdir())


class Rig:
    """A namespace with a bystander's objects in it, and operators that look after it. A context manager."""

    def __init__(self, plane: ControlPlane, folder: Path, *, mutant: str = "", flags: tuple[str, ...] = ()) -> None:
        self.plane = plane
        self.mutant = mutant
        self.operators: list[Operator] = []
        self._folder = folder
        self._flags = flags
        self._stack = ExitStack()
        self.namespace = f"faults-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        api = self._stack.enter_context(self.plane.client())
        self.world = World(api, self.namespace)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        api.post("/api/v1/namespaces", json=body).raise_for_status()
        self._stack.callback(lambda: api.delete(f"/api/v1/namespaces/{self.namespace}"))
        self.bystander = self._bystander()
        kubelet = Kubelet(World(self._stack.enter_context(self.plane.client()), self.namespace))
        kubelet.start()
        self._stack.callback(kubelet.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for operator in self.operators:
            operator.process.kill()
            operator.process.wait(timeout=10)
            if error is not None:
                print(f"--- {operator.log}\n{operator.text()[-6000:]}")
        self._stack.close()

    @property
    def operator(self) -> Operator:
        """The operator that was started last."""
        return self.operators[-1]

    def start(self, *flags: str, leading: bool = True, mutant: str | None = None) -> Operator:
        """Starts one more operator; with `leading`, returns when it leads. `mutant`: another one than the rig's."""
        runs = self.mutant if mutant is None else mutant
        proxy = FaultProxy(self.plane.server_url, self.plane.ca_file, self.plane.admin_token, str(len(self.operators)))
        self._stack.enter_context(proxy)
        port = _free_port()
        log = self._folder / f"{self.namespace}-{len(self.operators)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*_program(runs), *self._common_flags(port), *self._flags, *flags],
                env=self._environment(proxy) | {"FAULTS_MUTANT": runs},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.operators.append(Operator(process, proxy, log, port))
        if leading:
            eventually(self.operator.leads, "the operator to lead", START_SECONDS)
        return self.operator

    def hand_over(self) -> None:
        """Frees the Lease of a killed operator, so that the next one need not wait until it has run out."""
        self.world.patch("Lease", LEASE, {"spec": {"holderIdentity": ""}})

    def writes(self, since: int = 0) -> list[Mutation]:
        """What operators have changed or tried to change in this namespace, Leases apart, by the audit log."""
        ours = (one for one in self.plane.mutations() if one.namespace == self.namespace)
        return [one for one in ours if " via/" in one.user_agent and one.resource != "leases"][since:]

    @contextmanager
    def holding(self, operator: Operator, resource: str, subresource: str = "", method: str = "") -> Iterator[Gate]:
        """The next such write of the operator stops on its way until the gate opens."""
        gate = Gate()

        def matches(call: Any) -> bool:
            wanted = (call.resource, call.subresource) == (resource, subresource)
            return wanted and call.mutates and method in ("", call.method)

        with operator.proxy.rule(matches, held(gate), times=1):
            try:
                yield gate
            finally:
                gate.open()

    def _common_flags(self, port: int) -> tuple[str, ...]:
        return (
            f"--namespaces={self.namespace}",
            f"--health-port={port}",
            "--log-format=text",
            "--tick-seconds=0.5",
            "--request-timeout-seconds=2",
            f"--lease-duration-seconds={LEASE_SECONDS}",
            "--resync-seconds=8",
        )

    def _environment(self, proxy: FaultProxy) -> dict[str, str]:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
            "users": [{"name": "u", "user": {"token": "anything"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = self._folder / f"{self.namespace}-{proxy.name}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        own = {"KUBECONFIG": str(file), "POD_NAMESPACE": self.namespace, "POD_IP": "127.0.0.1"}
        return {**os.environ, **own}

    def _bystander(self) -> Json:
        """Somebody else's object that even carries our label; no operator may touch it."""
        labels = {"media.rtcscale.dev/pipeline": "bystander", "app": "bystander"}
        spec = {"ports": [{"port": 80}], "selector": {"app": "bystander"}}
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "bystander", "labels": labels},
            "spec": spec,
        }
        return self.world.create("Service", body)


def _program(mutant: str) -> list[str]:
    return [sys.executable, str(_WRAPPER)] if mutant else [sys.executable, "-m", "mediapipeline_operator"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
