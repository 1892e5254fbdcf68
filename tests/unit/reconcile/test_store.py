"""The cache: newest wins, whatever the order; a complete list takes over, deletions included."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from mediapipeline_operator.shell.cluster.store import Store


@dataclass(frozen=True)
class Item:
    resource_version: str
    pipeline: str = "p"
    namespace: str = "n"


def _store(*items: tuple[str, Item]) -> Store[Item]:
    store: Store[Item] = Store()
    for name, item in items:
        store.put(name, item)
    return store


def test_an_older_event_does_not_undo_a_newer_answer() -> None:
    store = _store(("a", Item("10")))
    assert store.put("a", Item("9")) == set()
    assert store.remove("n", "a", "8") == set()
    assert store.get("n", "a") == Item("10")


def test_a_deletion_is_told_to_the_pipeline() -> None:
    store = _store(("a", Item("10")))
    assert store.remove("n", "a", "11") == {("n", "p")}
    assert store.of_pipeline("n", "p") == ()


def test_a_list_finds_what_went_while_nobody_watched() -> None:
    store = _store(("a", Item("1")), ("b", Item("2", pipeline="q")))
    assert store.replace([("a", Item("1"))], "5", None) == {("n", "q")}
    assert store.get("n", "b") is None


def test_a_list_keeps_what_is_newer_than_itself_and_other_namespaces() -> None:
    store = _store(("ours", Item("9")), ("other", Item("1", namespace="m")))
    store.replace([], "5", "n")
    assert store.get("n", "ours")
    assert store.get("m", "other")


def test_a_changed_label_touches_both_pipelines() -> None:
    store = _store(("a", Item("1", pipeline="p")))
    assert store.put("a", Item("2", pipeline="q")) == {("n", "p"), ("n", "q")}
    assert store.of_pipeline("n", "p") == ()


@given(st.permutations(list(range(1, 8))))
def test_any_order_of_events_ends_in_the_newest(order: list[int]) -> None:
    store = _store(*(("a", Item(str(version))) for version in order))
    assert store.get("n", "a") == Item("7")
