"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as local processes."""

from devcluster.controlplane.audit import Mutation
from devcluster.controlplane.plane import ControlPlane, ControlPlaneError
from devcluster.controlplane.processes import ChildProcess, Command, ProcessError, start_process, stop_recorded

__all__ = [
    "ChildProcess",
    "Command",
    "ControlPlane",
    "ControlPlaneError",
    "Mutation",
    "ProcessError",
    "start_process",
    "stop_recorded",
]
