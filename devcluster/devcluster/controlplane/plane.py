"""A Kubernetes control plane as four processes on loopback."""

import ipaddress
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx

from devcluster.controlplane.addresses import LOOPBACK, free_ports
from devcluster.controlplane.audit import Mutation, MutationLog, audit_policy
from devcluster.controlplane.bootstrap import default_account_exists, grant_view, may_list_pods
from devcluster.controlplane.components import (
    APISERVER,
    COMPONENTS,
    CONTROLLER_MANAGER,
    ETCD,
    PORT_NAMES,
    SCHEDULER,
    SERVICE_CIDR,
    Layout,
    command,
    health_url,
)
from devcluster.controlplane.health import answers_ok, loopback_client
from devcluster.controlplane.kubeconfig import ADMIN, PROMETHEUS, User, create_users, token_file, write_kubeconfig
from devcluster.controlplane.kubeconfig import CONTROLLER_MANAGER as CONTROLLER_MANAGER_USER
from devcluster.controlplane.kubeconfig import SCHEDULER as SCHEDULER_USER
from devcluster.controlplane.pki import create_pki, write_private
from devcluster.controlplane.processes import (
    ChildProcess,
    ProcessTable,
    log_tail,
    start_process,
    stop_recorded,
)

START_TIMEOUT_SECONDS = 240.0  # 4 s on a free machine, minutes on a crowded one; a server that ended is seen at once
START_ATTEMPTS = 3
_POLL_SECONDS = 0.05
_HOST_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_PORT_TAKEN = "address already in use"


class ControlPlaneError(Exception):
    """The control plane cannot start or a component is not healthy; the message names the log and its last lines."""


class _PortTakenError(Exception):
    """Another process took a port between our look and the server's bind."""


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one cluster, in one data folder.

    A context manager. Everything blocks; from asyncio call it through `asyncio.to_thread`. Several can run side by side
    in different folders. The processes end with the interpreter, however it ends, unless `tie_to_parent` is False.
    """

    def __init__(
        self,
        data_dir: Path,
        binaries: Mapping[str, Path],
        *,
        audit: bool = False,
        tie_to_parent: bool = True,
        service_cidr: str = SERVICE_CIDR,
    ) -> None:
        """Args:
        data_dir: a folder of the cluster's own; made when missing; an etcd of an earlier run in it is continued.
        binaries: program name -> path, as `devcluster.binaries.ensure(CONTROL_PLANE)` gives it.
        audit: record mutating requests, for `mutations()`.
        tie_to_parent: False lets the processes outlive this interpreter; `stop()` of a later one ends them.
        service_cidr: range of the Services' cluster addresses.
        """
        self.data_dir = data_dir.absolute()
        self._binaries = binaries
        self._audit = audit
        self._tie_to_parent = tie_to_parent
        self._service_cidr = service_cidr
        self._users: dict[str, User] = {}
        self._children: dict[str, ChildProcess] = {}
        self._layout: Layout | None = None
        self._mutations: MutationLog | None = None
        self._in_use_by_others = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def layout(self) -> Layout:
        """Files and ports; known from the start on."""
        if self._layout is None:
            raise ControlPlaneError("the control plane has not been started")
        return self._layout

    @property
    def server_url(self) -> str:
        """https://127.0.0.1:PORT."""
        return self.layout.server_url

    @property
    def ca_file(self) -> Path:
        """The CA that signed the API server's certificate."""
        return self.layout.pki.ca.certificate

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig (mode 0600)."""
        return self.data_dir / "kubeconfig"

    @property
    def prometheus_token_file(self) -> Path:
        """A bearer token that may read what the ClusterRole `view` allows."""
        return self.data_dir / "prometheus.token"

    @property
    def admin_token(self) -> str:
        """The administrator's bearer token."""
        return self._users[ADMIN].token

    def start(self, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Starts everything and returns when pods can be created.

        Raises:
            ControlPlaneError: the folder is in use, or a component did not get ready in time; nothing is left running.
        """
        self._refuse_running()
        deadline = time.monotonic() + timeout_seconds
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start_all(deadline)
            except _PortTakenError as error:
                self.stop()
                if attempt == START_ATTEMPTS:
                    raise ControlPlaneError(str(error)) from error
            except BaseException:
                self.stop()
                raise
            else:
                return

    def stop(self) -> None:
        """Ends the components in reverse order, also those that an earlier interpreter left in this folder.

        Not so after `start` refused the folder because a cluster was running in it: that one keeps running.
        """
        if self._in_use_by_others:
            return
        for name in reversed(COMPONENTS):
            child = self._children.pop(name, None)
            if child is not None:
                child.stop()
        stop_recorded(self.data_dir, COMPONENTS)

    def start_component(self, name: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Starts one stopped component with its old ports and waits until it is healthy."""
        self._launch(name)
        self._wait_healthy(name, time.monotonic() + timeout_seconds)

    def stop_component(self, name: str, *, kill: bool = False) -> None:
        """Ends one component (`kill`: by SIGKILL at once); the others keep running."""
        child = self._children.pop(name, None)
        if child is None:
            raise ControlPlaneError(f"{name} is not running; components are {', '.join(COMPONENTS)}")
        child.kill() if kill else child.stop()

    def restart_component(self, name: str) -> None:
        """Ends and starts one component.

        Restarting kube-controller-manager also makes its garbage collector learn new kinds at once instead of after
        half a minute.
        """
        self.stop_component(name)
        self.start_component(name)

    def check(self) -> None:
        """Raises ControlPlaneError when a component that should run has ended."""
        for child in self._children.values():
            if not child.alive():
                raise ControlPlaneError(_ended(child))

    def mutations(self) -> list[Mutation]:
        """Every mutating request that was answered since the first start, oldest first; needs `audit=True`."""
        if not self._audit:
            raise ControlPlaneError("mutations() needs ControlPlane(audit=True)")
        if self._mutations is None:
            self._mutations = MutationLog(self.layout.audit_log)
        return self._mutations.read()

    def _refuse_running(self) -> None:
        own = {child.record for child in self._children.values()}
        records = ProcessTable(self.data_dir).read()
        running = [record.name for record in records if record.alive() and record not in own]
        self._in_use_by_others = bool(running)
        if running:
            raise ControlPlaneError(
                f"{self.data_dir} is in use: {', '.join(running)} still run. "
                "Stop them (devcluster down --data-dir ...) or use another folder."
            )

    def _start_all(self, deadline: float) -> None:
        self._prepare()
        for name in (ETCD, APISERVER):  # the API server waits for etcd by itself
            self._launch(name)
        for name in (ETCD, APISERVER):
            self._wait_healthy(name, deadline)
        for name in (CONTROLLER_MANAGER, SCHEDULER):
            self._launch(name)
        with self.client() as client:
            grant_view(client, PROMETHEUS)
            for name in (CONTROLLER_MANAGER, SCHEDULER):
                self._wait_healthy(name, deadline)
            self._wait(lambda: default_account_exists(client), "the service account default/default", deadline)
            token = self._users[PROMETHEUS].token
            self._wait(lambda: may_list_pods(client, token), "the rights of Prometheus' user", deadline)

    def client(self) -> httpx.Client:
        """An HTTP client of the API server with the administrator's rights; the caller closes it."""
        return loopback_client(self.server_url, self.ca_file, self.admin_token)

    def _prepare(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.data_dir / "logs", ignore_errors=True)
        pki = create_pki(self.data_dir / "pki", _HOST_NAMES, (LOOPBACK, _first_address(self._service_cidr)))
        self._layout = Layout(self.data_dir, free_ports(PORT_NAMES), pki, self._service_cidr, self._audit)
        self._users = create_users()
        write_private(self._layout.token_file, token_file(self._users.values()).encode())
        write_private(self.prometheus_token_file, self._users[PROMETHEUS].token.encode())
        self._write_kubeconfigs()
        self._layout.audit_policy.write_text(audit_policy())
        description = {"server": self.server_url, "kubeconfig": str(self.kubeconfig), "ports": self._layout.ports}
        (self.data_dir / "cluster.json").write_text(json.dumps(description, indent=1))

    def _write_kubeconfigs(self) -> None:
        paths = {
            ADMIN: self.kubeconfig,
            CONTROLLER_MANAGER_USER: self.layout.kubeconfig(CONTROLLER_MANAGER),
            SCHEDULER_USER: self.layout.kubeconfig(SCHEDULER),
        }
        for user, path in paths.items():
            write_kubeconfig(path, self.server_url, self.ca_file, self._users[user])

    def _launch(self, name: str) -> None:
        to_run = command(self.layout, name, self._binaries[name])
        self._children[name] = start_process(
            replace(to_run, working_dir=self.data_dir), self.data_dir, tie_to_parent=self._tie_to_parent
        )

    def _wait_healthy(self, name: str, deadline: float) -> None:
        url = health_url(self.layout, name)
        token = self.admin_token if name == APISERVER else ""
        self._wait(lambda: answers_ok(url, token), name, deadline)

    def _wait(self, condition: Callable[[], bool], what: str, deadline: float) -> None:
        while not condition():
            self._raise_if_ended()
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{what} did not get ready in time\n{self._tail(what)}")
            time.sleep(_POLL_SECONDS)

    def _raise_if_ended(self) -> None:
        for child in self._children.values():
            if not child.alive():
                message = _ended(child)
                raise _PortTakenError(message) if _PORT_TAKEN in message else ControlPlaneError(message)

    def _tail(self, what: str) -> str:
        child = self._children.get(what, self._children[APISERVER])
        return f"log: {child.log_path}\n{log_tail(child.log_path)}"


def _ended(child: ChildProcess) -> str:
    return f"{child.name} has ended\nlog: {child.log_path}\n{log_tail(child.log_path)}"


def _first_address(cidr: str) -> str:
    """The address of the Service default/kubernetes: the first one of the range."""
    return str(ipaddress.ip_network(cidr)[1])
