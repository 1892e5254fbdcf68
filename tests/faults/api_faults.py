"""Faults of the API server and the network: each a context around one step of a pipeline's life."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from faults.acts import Act, answer, expired_event, late_answer, login_page, lost_answer, stale
from faults.proxy import Call, Event, Filter, Matches, Record
from faults.rig import REQUEST_SECONDS, OracleError, Rig, eventually

Faulty = Callable[[Rig], AbstractContextManager[object]]
WriteFault = Callable[[Rig, Matches], AbstractContextManager[object]]
RETRY_AFTER_SECONDS = 2


def writes(call: Call) -> bool:
    """Any write of the operator."""
    return call.mutates


def writes_for(pipeline: str) -> Matches:
    """The writes for one pipeline: its children are named after it."""
    return lambda call: call.mutates and call.name.startswith(pipeline)


def _anything(call: Call) -> bool:
    return True


def _some_writes(act: Act, times: int) -> WriteFault:
    """The next so many of these writes meet `act`."""

    @contextmanager
    def fault(rig: Rig, these: Matches) -> Iterator[None]:
        with rig.operator.proxy.rule(these, act, times=times) as rule:
            yield
            eventually(lambda: rule.hits > 0, "the fault to strike", oracle="the suite itself")
            _until_quiet(lambda: rule.done)

    return fault


def _until_quiet(done: Callable[[], bool], seconds: float = 20.0) -> None:
    """A step may need fewer writes than the fault has strikes left."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def all_calls(act: Act, seconds: float) -> Faulty:
    """Every request meets `act` for a while, running watches are cut."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        with rig.operator.proxy.rule(_anything, act):
            rig.operator.proxy.end_watches()
            yield
            time.sleep(seconds)

    return fault


@contextmanager
def throttled(rig: Rig, these: Matches) -> Iterator[None]:
    """429 with Retry-After; nobody may come back earlier for the same object."""
    proxy, start = rig.operator.proxy, len(rig.operator.proxy.calls)
    with proxy.rule(these, answer(429, retry_after_seconds=RETRY_AFTER_SECONDS), times=2) as rule:
        yield
        eventually(lambda: rule.done, "the throttled writes", oracle="the suite itself")
        time.sleep(RETRY_AFTER_SECONDS + 0.5)
    _retry_after_obeyed([one for one in proxy.calls[start:] if these(one.call)])


def _retry_after_obeyed(calls: list[Record]) -> None:
    least = RETRY_AFTER_SECONDS - 0.05
    for refused in (one for one in calls if one.status == 429):
        early = [one for one in calls if one.call == refused.call and 0 < one.started - refused.ended < least]
        if early:
            raise OracleError("O7", f"{refused.call} was repeated within the {least} s of its Retry-After")


WRITE_FAULTS: dict[str, WriteFault] = {
    "conflicts": _some_writes(answer(409), 3),
    "throttled": throttled,
    "lost_answers": _some_writes(lost_answer(), 4),
    "late_answers": _some_writes(late_answer(REQUEST_SECONDS + 1.0), 1),
}


@contextmanager
def stale_reads(rig: Rig) -> Iterator[None]:
    """Lists and gets show the cluster as it was before the step; watches say nothing for a while."""
    proxy = rig.operator.proxy
    version = rig.world.api.get(rig.world.path("Deployment")).json()["metadata"]["resourceVersion"]
    with proxy.rule(lambda call: call.method == "GET" and not call.watch and call.resource != "leases", stale(version)):
        with proxy.silent_watches():
            yield
            time.sleep(3.0)
        time.sleep(1.0)


@contextmanager
def _filtered(rig: Rig, change: Filter) -> Iterator[None]:
    with rig.operator.proxy.filter(change):
        yield
        time.sleep(1.0)


def dropped_events(rig: Rig) -> AbstractContextManager[None]:
    """No watch event arrives; only a relist can tell."""
    return _filtered(rig, lambda call, event: [event] if event["type"] == "BOOKMARK" else [])


def duplicated_events(rig: Rig) -> AbstractContextManager[None]:
    """Each event comes three times."""
    return _filtered(rig, lambda call, event: [event] * 3)


@dataclass
class _Reorder:
    held: dict[Call, Event] = field(default_factory=dict)

    def __call__(self, call: Call, event: Event) -> list[Event]:
        before = self.held.pop(call, None)
        if before is None and event["type"] != "BOOKMARK":
            self.held[call] = event
            return []
        return [event] if before is None else [event, before]


def reordered_events(rig: Rig) -> AbstractContextManager[None]:
    """Each event comes after the one that followed it; the last one is lost."""
    return _filtered(rig, _Reorder())


def _expired(act: Act) -> Faulty:
    """What happens meanwhile is in the gap of watches that end with 410."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        proxy = rig.operator.proxy
        expired: set[Call] = set()

        def once_each(call: Call) -> bool:
            new = call.watch and call not in expired
            expired.add(call) if new else None
            return new

        with proxy.silent_watches():
            yield
            time.sleep(1.0)
            with proxy.rule(once_each, act):
                proxy.end_watches()
                time.sleep(3.0)

    return fault


expired_watches = _expired(expired_event())


def silent_streams(seconds: float) -> Faulty:
    """Watches stay open and say nothing, not even a bookmark: a half-open connection."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        with rig.operator.proxy.silent_watches():
            yield
            time.sleep(seconds)

    return fault


@contextmanager
def forbidden_kind(rig: Rig) -> Iterator[None]:
    """One kind is forbidden; everything else is looked after."""
    operator = rig.operator
    log_before = len(operator.text())
    with operator.proxy.rule(lambda call: call.resource == "networkpolicies", answer(403, "no rights on policies")):
        operator.proxy.end_watches()
        eventually(lambda: "403 no rights on policies" in operator.text()[log_before:], "the operator to see it")
        yield
        time.sleep(4.0)


@contextmanager
def refused_token(rig: Rig) -> Iterator[None]:
    """Credentials are refused for a while."""
    proxy = rig.operator.proxy
    proxy.accepted_token = "the-next-one"
    try:
        yield
        time.sleep(4.0)
    finally:
        proxy.accepted_token = None


@contextmanager
def etcd_restart(rig: Rig) -> Iterator[None]:
    """etcd dies at once and comes back two seconds later."""
    yield
    rig.plane.stop_component("etcd", kill=True)
    time.sleep(2.0)
    rig.plane.start_component("etcd")
    eventually(lambda: _serves(rig), "the API server to recover", oracle="the suite itself")


def _serves(rig: Rig) -> bool:
    try:
        response: Any = rig.world.api.get(rig.world.path("Deployment"))
    except httpx.HTTPError:
        return False
    return bool(response.status_code == 200)


def _of_all(fault: WriteFault) -> Faulty:
    return lambda rig: fault(rig, writes)


FAULTS: dict[str, Faulty] = {name: _of_all(fault) for name, fault in WRITE_FAULTS.items()} | {
    "server_errors": all_calls(answer(500), 4.0),
    "login_page": all_calls(login_page(), 4.0),
    "stale_reads": stale_reads,
    "dropped_events": dropped_events,
    "duplicated_events": duplicated_events,
    "reordered_events": reordered_events,
    "expired_watches": expired_watches,
    "refused_watches": _expired(answer(410)),
    "silent_streams": silent_streams(4.0),
    "forbidden_kind": forbidden_kind,
    "refused_token": refused_token,
    "etcd_restart": etcd_restart,
}
LONG_FAULTS: dict[str, Faulty] = {
    "server_errors_70_s": all_calls(answer(500), 70.0),
    "unavailable_70_s": all_calls(answer(503), 70.0),
    "half_open_100_s": silent_streams(100.0),
}
