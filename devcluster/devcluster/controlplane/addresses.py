"""Free loopback ports, chosen so that several clusters on one machine rarely meet."""

import secrets
import socket

LOOPBACK = "127.0.0.1"
# Below Linux' default range for outgoing connections (32768 and up), and below Kubernetes' node ports (30000 and up): a
# port found free there stays free until the server binds it, unless another cluster draws the same number.
FIRST_PORT, LAST_PORT = 20000, 29999
_ATTEMPTS = 200


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """A TCP port of 127.0.0.1 that nobody listens on and that is not in `taken`.

    Raises:
        OSError: none was found.
    """
    for _ in range(_ATTEMPTS):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        if port not in taken and _is_free(port):
            return port
    raise OSError(f"no free TCP port between {FIRST_PORT} and {LAST_PORT} on {LOOPBACK}")


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """A different free port for each name."""
    ports: dict[str, int] = {}
    for name in names:
        ports[name] = free_port(frozenset(ports.values()))
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
