"""Rollouts that no spec asked for: an upgrade of the operator, or a setting of it, changes every pipeline's template.

These wait for each other, a few pipelines at a time; a change of a spec never waits. Which is which follows from what
is in the cluster alone, so a restart in the middle changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mediapipeline_operator.api.reasons import ConditionType
from mediapipeline_operator.core.model import ChildRef, Snapshot
from mediapipeline_operator.core.observed import rollout_in_progress

BY_SPEC = "RollingOut"
BY_OPERATOR = "TemplateRollingOut"


def waits_for_slot(snapshot: Snapshot, ref: ChildRef, digest: str) -> bool:
    """Whether writing the Deployment `ref` with `digest` has to wait for its turn.

    It need not when its spec is new, nor when this process has seen the Deployment as it wants it: then somebody has
    edited it, and it is repaired at once.
    """
    carried_out = snapshot.pipeline.status.get("observedGeneration") == snapshot.pipeline.generation
    edited = snapshot.memory.converged.get(ref) == digest
    return ref.kind == "Deployment" and carried_out and not edited and not snapshot.rollout_slot


def template_rolls_out(snapshot: Snapshot) -> bool:
    """Whether pods are being replaced for another reason than a change of the spec.

    The status says it while the rollout lasts. Before it does, a generation that was carried out earlier says it.
    """
    deployment, pipeline = snapshot.deployment, snapshot.pipeline
    if deployment is None or not rollout_in_progress(deployment, snapshot.memory.applied_generation):
        return False
    said = _progressing(pipeline.status)
    if said.get("observedGeneration") == pipeline.generation and said.get("reason") in (BY_SPEC, BY_OPERATOR):
        return bool(said["reason"] == BY_OPERATOR)
    return bool(pipeline.status.get("observedGeneration") == pipeline.generation)


def _progressing(status: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((item for item in conditions if item["type"] == ConditionType.PROGRESSING), {})
