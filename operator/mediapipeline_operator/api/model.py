"""What the models of spec and status are made of: the base class and the types of names, labels and annotations."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Json = dict[str, Any]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
LabelValue = Annotated[str, Field(pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", max_length=63)]
Labels = dict[str, LabelValue]
Annotations = dict[str, Annotated[str, Field(max_length=16384)]]

# Bounds of the latency histogram (seconds). Thresholds lie on them: there the missed share is exact.
LATENCY_BUCKETS_SECONDS = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.033, 0.04, 0.05, 0.06, 0.075, 0.08, 0.1,
    0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0,
)  # fmt: skip
LATENCY_BUCKETS_MILLISECONDS = tuple(round(bound * 1000) for bound in LATENCY_BUCKETS_SECONDS)

KUBERNETES_PART = "kubernetesPart"


class ApiModel(BaseModel):
    """Frozen, camelCase on the wire. Unknown fields are ignored: a newer CRD may know more than this operator."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


def kubernetes_part(name: str) -> Json:
    """Marks a field whose schema is Kubernetes' own; `name` is its key in kubernetes.json."""
    return {KUBERNETES_PART: name}
