"""Where an offer goes: power of two choices, never to a pod that takes none."""

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mediapod.placement import Load, choose_peer, owner_of
from mediapod.placement.peers import PeersByDns, PeersInFile, find_peers


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  spreads load, keeps no secret


loads = st.builds(Load, st.just("peer"), st.integers(0, 12), st.integers(1, 12), st.booleans())


@given(loads, st.lists(loads, max_size=6), st.integers(0, 99))
def test_what_is_chosen_takes_sessions_and_is_clearly_emptier_or_the_own_pod_takes_none(own, peers, seed):
    chosen = choose_peer(own, peers, seeded(seed))
    if chosen is None:
        assert own.open or not any(peer.open for peer in peers)
    else:
        assert chosen.open
        assert not own.open or chosen.taken / chosen.capacity * own.capacity <= own.taken - 2


def test_a_difference_of_one_session_moves_nothing():
    assert choose_peer(Load("me", 3, 8), [Load("a", 2, 8)], seeded(1)) is None
    assert choose_peer(Load("me", 4, 8), [Load("a", 2, 8)], seeded(1)) is not None


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
