"""Where an offer goes: packed while a pod has room, else by power of two choices, never to a pod that takes none."""

import random
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mediapipeline_operator.core.simulation import placement as modelled
from mediapipeline_operator.core.simulation.pods import SimPod
from mediapod.frames import recent
from mediapod.observability import occupancy
from mediapod.placement import Load, board, choose_peer, owner_of
from mediapod.placement.board import load_of
from mediapod.placement.choice import CLEARLY_SESSIONS
from mediapod.placement.peers import PeersByDns, PeersInFile, find_peers
from mediapod.session import room, state
from mediapod.settings import Settings


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  spreads load, keeps no secret


either, never = st.booleans(), st.just(False)


@st.composite
def loads(draw, rooms=either):
    names = st.sampled_from("abcdefgh")
    taken, capacity, busy = st.integers(0, 12), st.integers(1, 12), st.floats(0, 1.2)
    return Load(draw(names), draw(taken), draw(capacity), draw(st.booleans()), draw(rooms), draw(busy))


full_of_rooms, without_room = st.lists(loads(), max_size=6), st.lists(loads(never), max_size=6)
seeds = st.integers(0, 99)


@given(loads(), full_of_rooms, seeds)
def test_never_a_pod_without_room_while_one_with_room_exists_and_never_a_draining_or_full_one(own, peers, seed):
    serving = choose_peer(own, peers, seeded(seed)) or own
    if any(load.packs for load in (own, *peers)):
        assert serving.packs
        assert serving.share == max(load.share for load in (own, *peers) if load.packs)
    if any(load.open for load in (own, *peers)):
        assert serving.open


@given(loads(), full_of_rooms)
def test_all_pods_pack_into_the_same_one(first, others):
    everybody = [replace(load, address=f"{index}") for index, load in enumerate([first, *others])]
    if any(load.packs for load in everybody):
        chosen = {(choose_peer(own, [p for p in everybody if p is not own], seeded(1)) or own) for own in everybody}
        assert len({load.address for load in chosen}) == 1


@given(loads(never), without_room, seeds)
def test_without_room_anywhere_it_spreads_to_a_pod_less_used_by_a_session_or_serves_here(own, peers, seed):
    chosen = choose_peer(own, peers, seeded(seed))
    if chosen is None:
        assert own.open or not any(peer.open for peer in peers)
    else:
        assert chosen.open
        assert not own.open or chosen.use * own.capacity <= own.use * own.capacity - 1 + 1e-6


def test_the_fullest_with_room_is_chosen_not_the_emptiest():
    peers = [Load("a", 1, 8, room=True), Load("b", 4, 8, room=True), Load("c", 6, 8)]
    assert choose_peer(Load("me", 2, 8, room=True), peers, seeded(1)) == peers[1]
    assert choose_peer(Load("me", 5, 8, room=True), peers, seeded(1)) is None, "this pod is the fullest with room"


def test_less_than_one_session_moves_nothing():
    assert choose_peer(Load("me", 3, 8), [Load("a", 3, 8)], seeded(1)) is None
    assert choose_peer(Load("me", 5, 16), [Load("a", 2, 8)], seeded(1)) is not None
    assert choose_peer(Load("me", 3, 8), [Load("a", 2, 8)], seeded(1)) is not None


def test_a_busy_device_counts_as_used_though_there_are_places():
    hot, cool = Load("hot", 2, 8, busy=0.95), Load("cool", 4, 8, busy=0.5)
    assert {choose_peer(Load("me", 8, 8), [hot, cool], seeded(seed)).address for seed in range(9)} == {"cool"}


def test_an_older_peer_that_says_nothing_of_room_has_none():
    told = {"taken": 3, "capacity": 8, "draining": False}
    assert not load_of("old", told).packs
    assert load_of("new", {**told, "room": True, "busy": 0.4}) == Load("new", 3, 8, room=True, busy=0.4)
    assert not load_of("odd", {**told, "room": "yes"}).packs


@given(loads(), full_of_rooms)
def test_the_simulator_places_as_the_pods_do(own, peers):
    """Its copy of the choice: the same set of pods over many seeds, for the same loads."""
    named = [replace(load, address=f"{index}", draining=False) for index, load in enumerate([own, *peers])]
    pods = {load.address: SimPod(load.address, 0, 0.0, 0.0, 0.0, ready_since=0.0) for load in named}
    seen = [modelled.Seen(pods[one.address], one.taken, one.capacity, one.room, one.busy) for one in named]
    theirs, ours = set(), set()
    for seed in range(60):
        real, model = (
            choose_peer(named[0], named[1:], seeded(seed)),
            modelled.choose_peer(seen[0], seen[1:], seeded(seed)),
        )
        ours.add(real and real.address)
        theirs.add(model and model.pod.name)
    assert ours == theirs


def test_the_simulator_has_the_pods_numbers():
    assert (modelled.FRESH_SECONDS, modelled.ASKED_PEERS) == (board.FRESH_SECONDS, board.ASKED_PEERS)
    assert modelled.CLEARLY_SESSIONS == CLEARLY_SESSIONS
    assert Settings.model_fields["placement_fill_percent"].default / 100 == modelled.FILL_SHARE
    assert (modelled.BUSY_LIMIT, modelled.MISSED_LIMIT) == (room.BUSY_LIMIT, room.MISSED_LIMIT)
    assert (modelled.NEW_SECONDS, modelled.NEARLY_EMPTY) == (state.MEASURED_SECONDS, room.NEARLY_EMPTY)
    assert (modelled.BUSY_SECONDS, modelled.MISSED_SECONDS) == (occupancy.WINDOW_SECONDS, recent.WINDOW_SECONDS)


def test_a_draining_peer_is_never_chosen():
    assert choose_peer(Load("me", 8, 8), [Load("a", 0, 8, draining=True)], seeded(1)) is None


def test_a_pod_among_many_is_not_chosen_by_everybody():
    """Choosing the emptiest of all would send every offer of a second to the same pod."""
    peers = [Load(str(number), number, 20) for number in range(10)]
    chosen = {choose_peer(Load("me", 20, 20), peers, seeded(seed)).address for seed in range(200)}
    assert len(chosen) >= 8


async def test_peers_from_a_file_are_read_anew(tmp_path: Path):
    path = tmp_path / "peers"
    peers = find_peers(str(path), 9090)
    assert isinstance(peers, PeersInFile)
    assert await peers.addresses() == []
    path.write_text("10.0.0.2:9090\n10.0.0.1:9090\n\n10.0.0.1:9090\n")
    assert await peers.addresses() == ["10.0.0.1:9090", "10.0.0.2:9090"]


async def test_peers_by_dns_have_our_admin_port():
    assert await PeersByDns("localhost", 9090).addresses()
    assert all(address.endswith(":9090") for address in await PeersByDns("localhost", 9090).addresses())
    assert await PeersByDns("no-such-host.invalid", 9090).addresses() == []
    assert find_peers("", 9090) is None


def test_the_owner_in_a_url_is_a_name_and_no_address():
    names = {owner_of(f"10.0.0.{number}:9090") for number in range(200)}
    assert len(names) == 200
    assert all(len(name) == 10 and name.isalnum() for name in names)
