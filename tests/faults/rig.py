"""What a scenario works with: a namespace, operators behind fault proxies, pods that get ready, and the records."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from devcluster.controlplane import ControlPlane, Mutation
from devcluster.controlplane.addresses import free_port
from faults.acts import Gate, held
from faults.proxy import FaultProxy
from faults.world import Json, Kubelet, World

LEASE = "mediapipeline-operator"
LEASE_SECONDS = 15  # who leads must not lose it only because others have the cores
REQUEST_SECONDS = 4  # also for a machine that is busy with other tests
START_SECONDS = 240.0  # a process on a busy machine
WAIT_SECONDS = 90.0  # for what takes a moment on a machine with nothing else to do
_POLL_SECONDS = 0.2
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
        time.sleep(_POLL_SECONDS)
    return found


@dataclass
class Operator:
    """One running process of the operator, behind a proxy of its own. `flags`: those of this process alone."""

    process: subprocess.Popen[bytes]
    proxy: FaultProxy
    log: Path
    port: int
    flags: tuple[str, ...]
    ended: bool = False  # on purpose
    _read: int = 0

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def unread(self) -> str:
        """What has been logged since the last call."""
        text = self.text()
        start, self._read = self._read, len(text)
        return text[start:]

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

    def gauge(self, name: str) -> int:
        """A metric without labels: `mediapipeline_operator_<name>`."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60).text
        start = f"mediapipeline_operator_{name} "
        return next(int(float(line.removeprefix(start))) for line in text.splitlines() if line.startswith(start))

    def die(self) -> None:
        """SIGKILL, without waiting."""
        self.ended = True
        self.process.kill()

    def kill(self) -> None:
        self.die()
        self.process.wait(timeout=10)

    def stop(self) -> None:
        """SIGTERM. Raises OracleError if it does not end in order."""
        self.ended = True
        self.process.send_signal(signal.SIGTERM)
        if (code := self.process.wait(timeout=60)) != 0:
            raise OracleError("O10", f"the operator ended with {code}")

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
        """Open files, threads and asyncio tasks."""
        proc = Path(f"/proc/{self.process.pid}")
        return sum(1 for folder in ("fd", "task") for _ in (proc / folder).iterdir()) + self.gauge("tasks")


class Rig:
    """A namespace with a bystander's objects in it, and operators that look after it. A context manager."""

    def __init__(self, plane: ControlPlane, folder: Path, *, mutant: str = "", flags: tuple[str, ...] = ()) -> None:
        self.plane = plane
        self.mutant = mutant
        self.operators: list[Operator] = []
        self.bounds: dict[str, tuple[int, int]] = {}  # pipeline -> fewest and most replicas it may ever be given
        self.token_file: Path | None = (
            None  # whose token operators show from now on; without it they are administrators
        )
        self.thorough = False  # whether each scenario ends with a restart
        # A mutant is often noticed by a wait that runs out; what is well may take its time on a busy machine.
        self.patience_seconds = 45.0 if mutant else 90.0
        self.folder = folder
        self._flags = flags
        self._stack = ExitStack()
        self.namespace = f"faults-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        api = self._stack.enter_context(self.plane.client())
        api.timeout = httpx.Timeout(30.0)
        self.world = World(api, self.namespace)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        api.post("/api/v1/namespaces", json=body).raise_for_status()
        self._stack.callback(lambda: api.delete(f"/api/v1/namespaces/{self.namespace}"))
        self.bystander = self._bystander()
        kubelet = Kubelet(self.plane, self.namespace)
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

    def begin_anew(self) -> None:
        """Forgets what is over: pipelines of earlier scenarios, processes that have ended, what is in the log."""
        for name in list(self.bounds):
            self.world.delete("MediaPipeline", name)
        self.bounds.clear()
        self.operators = [operator for operator in self.operators if operator.alive()]
        for operator in self.operators:
            operator.unread()

    @property
    def operator(self) -> Operator:
        """The operator that was started last."""
        return self.operators[-1]

    def start(self, *flags: str, leading: bool = True, mutant: str | None = None) -> Operator:
        """Starts one more operator; with `leading`, returns when it leads. `mutant`: another one than the rig's."""
        operator = self._launch(flags, self.mutant if mutant is None else mutant)
        if leading:
            eventually(operator.leads, "the operator to lead", START_SECONDS)
        return operator

    def _launch(self, flags: tuple[str, ...], runs: str) -> Operator:
        proxy = FaultProxy(self.plane.server_url, self.plane.ca_file, self.plane.admin_token, str(len(self.operators)))
        self._stack.enter_context(proxy)
        port = free_port()
        log = self.folder / f"{self.namespace}-{len(self.operators)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [*_program(runs), *self._common_flags(port), *self._flags, *flags],
                env=self._environment(proxy) | {"FAULTS_MUTANT": runs},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.operators.append(Operator(process, proxy, log, port, flags))
        return self.operator

    def hand_over(self) -> None:
        """Frees the Lease of a killed operator, so that the next one need not wait until it has run out."""
        self.world.patch("Lease", LEASE, {"spec": {"holderIdentity": ""}})

    def writes(self, since: int = 0) -> list[Mutation]:
        """What operators have changed or tried to change in this namespace, Leases apart, by the audit log."""
        ours = (one for one in self.plane.mutations() if one.namespace == self.namespace)
        return [one for one in ours if " via/" in one.user_agent and one.resource != "leases"][since:]

    @contextmanager
    def holding(
        self, operator: Operator, resource: str, subresource: str = "", method: str = "", *, falls_asleep: bool = False
    ) -> Iterator[Gate]:
        """From the next one on, such writes of the operator stop on their way until the gate opens.

        `falls_asleep`: the operator is paused while the first one is on its way, so that it cannot try again.
        """
        gate = Gate(operator.pause) if falls_asleep else Gate()

        def matches(call: Any) -> bool:
            wanted = (call.resource, call.subresource) == (resource, subresource)
            return wanted and call.mutates and method in ("", call.method)

        with operator.proxy.rule(matches, held(gate)):
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
            f"--request-timeout-seconds={REQUEST_SECONDS}",
            f"--lease-duration-seconds={LEASE_SECONDS}",
            "--resync-seconds=8",
        )

    def _environment(self, proxy: FaultProxy) -> dict[str, str]:
        proxy.passes_tokens = self.token_file is not None
        user = {"token": "anything"} if self.token_file is None else {"tokenFile": str(self.token_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = self.folder / f"{self.namespace}-{proxy.name}.kubeconfig"
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
