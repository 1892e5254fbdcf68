"""The kinds that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from mediapipeline_operator.api import labels


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type: `api_version` as in a manifest, `plural` as in a path."""

    api_version: str
    name: str
    plural: str

    def collection(self, namespace: str | None) -> str:
        """Path of all objects in a namespace, or in the cluster with None."""
        root = "/api" if "/" not in self.api_version else "/apis"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}/{self.api_version}{scope}/{self.plural}"

    def item(self, namespace: str, name: str, subresource: str = "") -> str:
        """Path of one object or of its subresource."""
        tail = f"/{subresource}" if subresource else ""
        return f"{self.collection(namespace)}/{name}{tail}"


DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
PIPELINE = Kind(labels.API_VERSION, labels.KIND, labels.PLURAL)

HPA = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")

CHILD_KINDS = (
    DEPLOYMENT,
    Kind("v1", "Service", "services"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
    Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
    HPA,
    Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
)
BY_NAME = {kind.name: kind for kind in (*CHILD_KINDS, POD)}
