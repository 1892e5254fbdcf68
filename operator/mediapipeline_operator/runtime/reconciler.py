"""One reconcile: observe -> plan -> execute -> status.

The queue calls it for one key at a time; nothing here depends on why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from mediapipeline_operator.api.pipeline import Key, MediaPipeline
from mediapipeline_operator.api.reasons import EventReason
from mediapipeline_operator.core.model import Apply, ChildRef, EventNote, Memory, Plan, Snapshot
from mediapipeline_operator.core.plan import plan
from mediapipeline_operator.core.resources import BuildSettings
from mediapipeline_operator.core.rollouts import template_rolls_out
from mediapipeline_operator.core.scaling.model import Signals
from mediapipeline_operator.core.scaling.outcome import Outcome
from mediapipeline_operator.core.scaling.state import ScalingState
from mediapipeline_operator.core.status import Report, announcements, significant, unreadable_status, write_due
from mediapipeline_operator.runtime.executor import Done, Executor
from mediapipeline_operator.runtime.metrics import Metrics
from mediapipeline_operator.runtime.observer import Observer
from mediapipeline_operator.runtime.pipelines import Pipelines, Unreadable
from mediapipeline_operator.runtime.queue import PassIncompleteError
from mediapipeline_operator.runtime.rollouts import RolloutTurns
from mediapipeline_operator.shell.clock import Clock
from mediapipeline_operator.shell.cluster.errors import ClusterError, ConflictError, NotFoundError, NotLeaderError
from mediapipeline_operator.shell.cluster.kinds import PIPELINE
from mediapipeline_operator.shell.cluster.writer import Writer
from mediapipeline_operator.shell.events import EventAbout, EventPoster

_NOT_LEADING_SECONDS = 1.0
_STATUS_WAITS_SECONDS = 30.0  # a status that says nothing but that its spec is observed, while many changes wait

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Tools:
    """What a reconciler works with."""

    pipelines: Pipelines
    observer: Observer
    executor: Executor
    writer: Writer
    events: EventPoster
    metrics: Metrics
    clock: Clock
    rollouts: RolloutTurns
    build: BuildSettings
    tick_seconds: float
    measurements_every_seconds: float
    signals: Callable[[Key], Signals | None]
    decided: Callable[[Key], None]
    put_off: Callable[[Key, float], bool]  # False: now is as good; else after the changes of so many seconds


@dataclass
class _Remembered:
    uid: str
    memory: Memory
    status_looked_at: float  # monotonic: written, or found to say what is measured
    owed_since: float | None = None  # monotonic: its status is put off
    _significant: tuple[str, bytes] = ("", b"")  # of a resource version

    def significant(self, pipeline: MediaPipeline) -> bytes:
        """significant() of its status, made once for each that is read."""
        if self._significant[0] != pipeline.resource_version:
            self._significant = (pipeline.resource_version, significant(pipeline.status))
        return self._significant[1]


class Reconciler:
    """Holds, per pipeline, only what may be lost."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._remembered: dict[Key, _Remembered] = {}
        self._published = -1  # as first_passes

    async def reconcile(self, key: Key) -> float | None:
        """One pass.

        Returns after how many seconds to come again; raises PassIncompleteError when something is left to do.
        """
        try:
            return await self._reconcile(key)
        except NotLeaderError:
            return _NOT_LEADING_SECONDS
        except ClusterError as error:
            raise PassIncompleteError(str(error), getattr(error, "retry_after_seconds", None)) from error
        finally:
            if len(self._remembered) != self._published:
                self._published = len(self._remembered)
                self._tools.metrics.first_passes.set(self._published)
            self._tools.decided(key)

    async def _reconcile(self, key: Key) -> float | None:
        known = self._tools.pipelines.get(key)
        if known is None:
            self._forget(key)
            return None
        if isinstance(known, Unreadable):
            await self._reject(known)
            return None
        return await self._pass(known)

    async def _pass(self, pipeline: MediaPipeline) -> float | None:
        remembered = self._remember(pipeline)
        snapshot, wanted = await self._observe_and_plan(pipeline, remembered.memory)
        if pipeline.deleting:
            return None
        if _creates(wanted) and not await self._tools.observer.exists(pipeline):
            self._drop(pipeline.key, pipeline.uid, "nothing is created for it")
            return None
        done = await self._tools.executor.execute(snapshot, wanted)
        if done.stale and done.at is not None:
            await self._look_again(pipeline.key, done.at)
        remembered.memory = _after(remembered.memory, wanted, done)
        await self._report(snapshot, wanted, done, remembered)
        if done.stale or done.failed:
            raise PassIncompleteError(done.stale or str(done.failed), done.retry_after_seconds)
        return wanted.requeue_after_seconds

    async def _look_again(self, key: Key, ref: ChildRef) -> None:
        if ref.kind != PIPELINE.name:
            await self._tools.observer.look_again(key.namespace, ref)
        elif (newer := await self._tools.observer.pipeline(key)) is not None:
            self._tools.pipelines.put(newer)

    async def _observe_and_plan(self, pipeline: MediaPipeline, memory: Memory) -> tuple[Snapshot, Plan]:
        """Plans on what the caches know; looks closer where the plan would create something or needs a pod's own
        word.
        """
        tools = self._tools
        snapshot = tools.observer.snapshot(pipeline, memory, tools.signals(pipeline.key))
        wanted = plan(snapshot, tools.build, tick_seconds=tools.tick_seconds)
        if wanted.findings.queued and tools.rollouts.take(pipeline.key):
            snapshot = replace(snapshot, rollout_slot=True)
            wanted = plan(snapshot, tools.build, tick_seconds=tools.tick_seconds)
        closer = snapshot
        if _creates(wanted):
            closer = await tools.observer.with_live(closer, [apply.ref for apply in _creates(wanted)])
        if wanted.wants_admin:
            closer = await tools.observer.with_answers(closer, wanted.wants_admin)
        if closer is not snapshot:
            wanted = plan(closer, tools.build, tick_seconds=tools.tick_seconds)
        return closer, wanted

    async def _report(self, snapshot: Snapshot, wanted: Plan, done: Done, remembered: _Remembered) -> None:
        """Events, log, metrics, and the status as things are after the writes."""
        pipeline, tools = snapshot.pipeline, self._tools
        outcome = wanted.outcome if done.scaled else None
        if outcome is not None:
            self._explain(pipeline.key, outcome)
        after = self._after_writes(snapshot, wanted, remembered.memory)
        findings = wanted.findings
        if done.failed or done.stale:
            findings = replace(findings, failed=done.failed, unfinished=bool(done.stale))
        tools.rollouts.note(pipeline.key, rolling=template_rolls_out(after), waiting=findings.queued)
        report = Report(after, findings, outcome, tools.build)
        for note in (*wanted.notes(done.scaled, done.failed), *report.announcements):
            self._announce(pipeline.key, pipeline.uid, note)
        await self._write_status(pipeline, report, remembered)

    def _after_writes(self, snapshot: Snapshot, wanted: Plan, memory: Memory) -> Snapshot:
        """What the caches know now: a plan without writes has not taught them anything."""
        if not wanted.writes:
            return snapshot
        refreshed = self._tools.observer.snapshot(snapshot.pipeline, memory, snapshot.signals)
        return replace(refreshed, children={**snapshot.children, **refreshed.children}, now=snapshot.now)

    async def _write_status(self, pipeline: MediaPipeline, report: Report, remembered: _Remembered) -> None:
        now = self._tools.clock.monotonic()
        since_look, every = now - remembered.status_looked_at, self._tools.measurements_every_seconds
        due = report.is_due(remembered.significant(pipeline), since_look, every)
        if due and report.may_wait and self._put_off(pipeline.key, remembered, now):
            return
        if due:
            await self._put_status(pipeline, report.body)
        if due or since_look >= every:  # when nothing has changed: not again in each pass
            remembered.status_looked_at = now
        remembered.owed_since = None

    def _put_off(self, key: Key, remembered: _Remembered, now: float) -> bool:
        """While the changes of many wait, their children come before this one's status, for a limited time."""
        since = remembered.owed_since if remembered.owed_since is not None else now
        left = since + _STATUS_WAITS_SECONDS - now
        if left <= 0 or not self._tools.put_off(key, left):
            return False
        remembered.owed_since = since
        return True

    async def _put_status(self, about: MediaPipeline | Unreadable, body: Mapping[str, Any]) -> None:
        """A pipeline that went away or changed meanwhile is looked at: the watch may have missed it."""
        tools, key = self._tools, about.key
        try:
            live = await tools.writer.apply_status(key.namespace, key.name, about.uid, about.resource_version, body)
        except (NotFoundError, ConflictError) as error:
            newer = await tools.observer.pipeline(key)
            if newer is None:
                self._drop(key, about.uid, str(error))
                return
            tools.pipelines.put(newer)
            raise
        tools.metrics.writes.labels("MediaPipeline", "status").inc()
        tools.pipelines.put(live)

    async def _reject(self, unreadable: Unreadable) -> None:
        """A resource that this version cannot read: said on the resource; its children stay as they are."""
        body = unreadable_status(unreadable.status, unreadable.generation, unreadable.message, self._tools.clock.now())
        if not write_due(unreadable.status, body, 0.0):
            return
        for note in announcements(unreadable.status, body):
            self._announce(unreadable.key, unreadable.uid, note)
        await self._put_status(unreadable, body)

    def _explain(self, key: Key, outcome: Outcome) -> None:
        self._tools.metrics.gauges.replace(key, lambda: outcome.metrics)
        if outcome.log_due or log.is_enabled_for(logging.DEBUG):
            write = log.info if outcome.log_due else log.debug
            write("scaling_decision", pipeline=str(key), text=f"{key.name}: {outcome.text}", **outcome.log)
        if outcome.is_new:
            decision = outcome.decision
            self._tools.metrics.decisions.labels(decision.action.value, decision.reason.value).inc()

    def _announce(self, key: Key, uid: str, note: EventNote) -> None:
        self._tools.events.post(
            EventAbout(key.namespace, key.name, uid, EventReason(note.reason).value, note.type, note.message)
        )

    def _remember(self, pipeline: MediaPipeline) -> _Remembered:
        known = self._remembered.get(pipeline.key)
        if known is None or known.uid != pipeline.uid:
            memory = Memory(state=ScalingState.from_status(pipeline.status))
            # Not all of them at the same time after a start.
            later = self._tools.measurements_every_seconds * pipeline.key.phase
            known = _Remembered(pipeline.uid, memory, self._tools.clock.monotonic() + later)
            self._remembered[pipeline.key] = known
        return known

    def _drop(self, key: Key, uid: str, detail: str) -> None:
        """Forgets a pipeline whose deletion the watch has not told, or not yet."""
        log.info("pipeline_gone", pipeline=str(key), detail=detail)
        self._tools.pipelines.remove(key, uid)
        self._forget(key)

    def _forget(self, key: Key) -> None:
        self._remembered.pop(key, None)
        self._tools.rollouts.forget(key)
        self._tools.metrics.gauges.forget(key)


def _creates(wanted: Plan) -> tuple[Apply, ...]:
    return tuple(apply for apply in wanted.applies if apply.resource_version is None)


def _after(memory: Memory, wanted: Plan, done: Done) -> Memory:
    """What is remembered after a pass. Timers move on only when every action of scaling was carried out."""
    converged = memory.converged
    if not done.stale and not (found := _converged(wanted, done)).items() <= converged.items():
        converged = {**converged, **found}
    decided = wanted.outcome is not None and done.scaled
    return Memory(
        state=wanted.outcome.state if wanted.outcome is not None and decided else memory.state,
        converged=converged,
        unrepairable={**memory.unrepairable, **done.unrepairable} if done.unrepairable else memory.unrepairable,
        applied_generation=done.applied_generation or memory.applied_generation,
        expected=wanted.expected or memory.expected,
    )


def _converged(wanted: Plan, done: Done) -> dict[ChildRef, str]:
    """The children that are now as wanted: not those that were rejected, stand in the way or wait for their turn."""
    findings = wanted.findings
    digests = wanted.expected.digests if wanted.expected is not None else {}
    left_out = {*done.failed, *findings.refused, *findings.waiting}
    return {
        ref: digest
        for ref, digest in digests.items()
        if ref not in left_out and not (findings.queued and ref.kind == "Deployment")
    }
