"""A pod of several processes: media workers share its sessions, and nobody else notices when one of them is gone."""

import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mediapod.front import member
from mediapod.front.front import Front
from mediapod.placement import board, forwarding
from mediapod.settings import load_settings

pytestmark = pytest.mark.media

ENVIRONMENT = {
    "MEDIAPOD_BIND_ADDRESS": "127.0.0.1",
    "MEDIAPOD_HTTP_PORT": "0",
    "MEDIAPOD_ADMIN_PORT": "0",
    "MEDIAPOD_WORKERS": "2",
    "MEDIAPOD_DEVICE": "CPU",
    "MEDIAPOD_STAGES": '[{"name": "grey", "effect": "Grayscale"}]',
    "MEDIAPOD_FRAME_DEADLINE_MILLISECONDS": "2000",
    "MEDIAPOD_ADMISSION_LOOP_LAG_MILLISECONDS": "0",
}


async def samples(admin_url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """The pod's metrics: (name, label values) -> value."""
    return values(text_string_to_metric_families((await get(f"{admin_url}/metrics")).text))


def values(families) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


async def metric(admin_url: str, name: str, *labels: str) -> float:
    return (await samples(admin_url)).get((name, labels), 0.0)


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(url, timeout=60)


async def until(condition, timeout: float = 90) -> None:
    """Wait until the coroutine function `condition` says yes."""
    deadline = time.monotonic() + timeout
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        await asyncio.sleep(0.05)


def counters(found: dict[tuple[str, tuple[str, ...]], float]) -> dict[tuple[str, tuple[str, ...]], float]:
    return {key: value for key, value in found.items() if key[0].endswith(("_total", "_count", "_bucket"))}


class Pod:
    """A front in this process, with real workers."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.url = f"http://127.0.0.1:{front.http.port}"
        self.admin_url = f"http://127.0.0.1:{front.admin.port}"

    def worker(self, index: int):
        return self.front.crew.owner(str(index))

    async def sessions(self) -> list[dict[str, object]]:
        return (await get(f"{self.admin_url}/sessions")).json()["sessions"]

    async def spread(self) -> Counter[str]:
        """Sessions by worker."""
        return Counter(str(session["process"]) for session in await self.sessions())


@pytest.fixture
async def pod(monkeypatch):
    """`await pod(MEDIAPOD_WORKERS="2", ...)` starts a pod on free ports and waits until it is ready."""
    monkeypatch.setattr(member, "ASK_SECONDS", 10.0)  # what a process has counted is old when it does not answer
    fronts: list[Front] = []

    async def start(**environment: str) -> Pod:
        for name, value in {**ENVIRONMENT, **environment}.items():
            monkeypatch.setenv(name, value)
        front = Front(load_settings())
        fronts.append(front)
        await front.start()
        return Pod(front)

    yield start
    for front in fronts:
        await front.stop()


async def test_two_workers_share_the_sessions_and_the_pod_speaks_with_one_voice(pod, connect_to):
    it = await pod(MAX_SESSIONS_PER_POD="5")
    clients = [await connect_to(it.url) for _ in range(4)]
    assert sorted((await it.spread()).values()) == [2, 2]
    for client in clients:
        await client.wait_for(10)

    found = await samples(it.admin_url)
    assert found["mediapod_sessions_capacity", ()] == 5
    assert found["mediapod_sessions", ()] == 4
    text, _ = await it.front.crew.exposition()
    parts = [values(member.metrics) for member in it.front.crew.workers]  # at once: they are read again each second
    whole = values(text_string_to_metric_families(text.decode()))
    for key in counters(whole):
        if key[0].startswith("mediapod_frame"):  # nobody else counts frames
            assert whole[key] == parts[0][key] + parts[1][key]
    assert min(part["mediapod_frames_received_total", ()] for part in parts) >= 20

    await clients[0].close()
    await until(lambda: _taken(it, 3))
    freed = await it.spread()
    await connect_to(it.url)
    assert freed != await it.spread()
    assert sorted((await it.spread()).values()) == [2, 2]


async def _taken(it: Pod, count: int) -> bool:
    return it.front.crew.taken == count


async def test_session_urls_reach_their_worker_and_a_full_pod_says_so(pod, connect_to):
    it = await pod(MAX_SESSIONS_PER_POD="2", MEDIAPOD_ALLOWED_ORIGINS='["https://example.org"]')
    async with httpx.AsyncClient(timeout=60, headers={"origin": "https://example.org"}) as http:
        clients = [await connect_to(it.url) for _ in range(2)]
        refused = await http.post(f"{it.url}/webrtc/offer", json=await clients[0].offer())
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["access-control-allow-origin"] == "https://example.org"
        assert await metric(it.admin_url, "mediapod_offers_total", "rejected_capacity") == 1

        location = clients[1].location
        assert re.fullmatch(r"/session/[0-9a-f]{10}\.[01]-[0-9a-f]{32}", location)
        assert (await http.patch(it.url + location)).status_code == 415
        other_worker = location.replace(".0-", ".x-").replace(".1-", ".0-").replace(".x-", ".1-")
        assert (await http.delete(it.url + other_worker)).status_code == 404
        assert (await http.delete(it.url + location.replace(".", ".7"))).status_code == 404
        assert (await http.delete(it.url + location)).status_code == 200
        await until(lambda: _taken(it, 1))
        assert await metric(it.admin_url, "mediapod_sessions_ended_total", "ClientEnded") == 1

        simulated = await http.post(f"{it.url}/toggle-gpu-simulation")
        assert simulated.status_code == 403
        assert (await http.post(f"{it.url}/process?pixels=64x64&iters=1")).json()["device"] == "cpu"
        assert await metric(it.admin_url, "app_requests_total", "/process") == 1


async def test_pods_of_one_and_of_several_processes_place_offers_on_each_other(
    pod, serve, connect_to, tmp_path, monkeypatch
):
    monkeypatch.setattr(board, "ASK_SECONDS", 60.0)
    monkeypatch.setattr(forwarding, "FORWARD_SECONDS", 60.0)
    peers = tmp_path / "peers"
    it = await pod(MAX_SESSIONS_PER_POD="2", MEDIAPOD_PEERS=str(peers))
    other = await serve(MEDIAPOD_PEERS=str(peers))
    peers.write_text(f"{it.admin_url}\n{other.admin_url}".replace("http://", ""))
    here = [await connect_to(it.url) for _ in range(2)]
    placed = await connect_to(it.url)
    await placed.wait_for(5)
    assert len(other.mediapod.registry.sessions) == 1
    assert await metric(it.admin_url, "mediapod_offers_total", "placed") == 1
    async with httpx.AsyncClient(timeout=60) as http:
        assert (await http.delete(other.url + here[0].location)).status_code == 200
        assert (await http.delete(it.url + placed.location)).status_code == 200
    await until(lambda: _taken(it, 1))


async def test_a_worker_that_is_killed_or_hangs_takes_only_its_own_sessions_with_it(pod, connect_to):
    it = await pod(MEDIAPOD_HEARTBEAT_SECONDS="8", MEDIAPOD_ALLOW_SIMULATION_TOGGLE="true")
    first, second = [await connect_to(it.url) for _ in range(2)]
    await first.wait_for(10)
    await second.wait_for(10)
    async with httpx.AsyncClient() as http:
        assert (await http.post(f"{it.url}/toggle-gpu-simulation", timeout=60)).json()["gpu_simulation"]
    for index, (number, reason) in enumerate([(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "hung")]):
        before, came_back = counters(await samples(it.admin_url)), len(second.returned)
        lost, kept = it.worker(0), it.worker(1)
        os.kill(lost.process.pid, number)
        await until(lambda lost=lost: _replaced(it, lost))
        found = await samples(it.admin_url)
        assert not {key: value for key, value in before.items() if found[key] < value}
        assert found["mediapod_processes_lost_total", ("worker", reason)] == 1
        assert found["mediapod_sessions_ended_total", ("WorkerLost",)] == 1 + index
        assert it.worker(1) is kept
        await second.wait_for(came_back + 10)
        connected = await connect_to(it.url)  # the new worker is the emptier one
        await connected.wait_for(5)
        assert (await it.spread())["worker-0"] == 1
    status = [(await get(f"{it.url}/gpu-simulation-status")).json()["gpu_simulation"] for _ in range(4)]
    assert status == [True] * 4


async def _replaced(it: Pod, lost) -> bool:
    return it.worker(0) not in (None, lost)


ENOUGH_FRAMES = 100


async def test_two_workers_share_one_serial_device_and_survive_its_end(pod, connect_to):
    service_seconds = 0.025
    it = await pod(
        MEDIAPOD_DEVICE="Simulated",
        MEDIAPOD_SIMULATED_SERVICE_TIME_MILLISECONDS=str(service_seconds * 1000),
    )
    clients = [await connect_to(it.url) for _ in range(4)]  # 80 frames a second for a device that does 40
    assert sorted((await it.spread()).values()) == [2, 2]
    busy, done = ("mediapod_device_busy_seconds_total", ("cuda-simulated",)), ("mediapod_frames_total", ("ok",))
    began, before = time.monotonic(), await samples(it.admin_url)
    after = before

    async def enough() -> bool:
        nonlocal after
        after = await samples(it.admin_url)
        return after[done] - before[done] >= ENOUGH_FRAMES

    await until(enough)
    seconds = time.monotonic() - began
    finished, worked = after[done] - before[done], after[busy] - before[busy]
    # The processes are asked one after the other: a frame may be counted as done and not yet as work, and before.
    assert finished <= 1.2 * worked / service_seconds + 8
    assert worked <= seconds * 1.05 + 0.2, "the workers have a device each"

    device = it.front.crew._device.member
    os.kill(device.process.pid, signal.SIGKILL)
    await until(lambda: _counted(it, "mediapod_device_fallbacks_total", 2, "device_lost"))
    came_back = [len(client.returned) for client in clients]
    for client, count in zip(clients, came_back, strict=True):
        await client.wait_for(count + 3)  # on the CPU, then on the new device process
    await until(lambda: _counted(it, busy[0], after[busy] + 0.1, *busy[1]))
    found = await samples(it.admin_url)
    assert found["mediapod_processes_lost_total", ("device", "crashed")] == 1
    assert not {key: value for key, value in counters(after).items() if found[key] < value}
    assert sum((await it.spread()).values()) == 4


async def _counted(it: Pod, name: str, least: float, *labels: str) -> bool:
    return await metric(it.admin_url, name, *labels) >= least


@pytest.fixture
async def launch():
    """`await launch(MEDIAPOD_GRACE_SECONDS="8")` starts `python -m mediapod`: the process and its ready line."""
    running: list[asyncio.subprocess.Process] = []

    async def start(**environment: str) -> tuple[asyncio.subprocess.Process, dict[str, object]]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mediapod"),
            env={"PATH": os.environ["PATH"], **ENVIRONMENT, **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        running.append(process)
        return process, await asyncio.wait_for(_ready(process), 180)

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        entry = json.loads(line)
        if entry["event"] == "mediapod ready":
            return entry
    raise AssertionError("the process ended before it was ready")


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return False


def leftovers() -> set[str]:
    temporary = {str(path) for path in Path(tempfile.gettempdir()).glob("mediapod-*")}
    return temporary | {str(path) for path in Path("/dev/shm").iterdir() if "mediapod" in path.name}


async def test_nothing_is_left_of_a_pod_whose_front_is_killed(launch, connect_to):
    before = leftovers()
    front, ready = await launch(MEDIAPOD_DEVICE="Simulated")
    client = await connect_to(f"http://127.0.0.1:{ready['http_port']}")
    await client.wait_for(5)
    parts = children(front.pid)
    assert len(parts) == 3, "two media workers and the device process"
    os.kill(next(iter(parts)), signal.SIGSTOP)  # not even one that cannot react
    front.kill()
    await until(lambda: _all_gone(parts))
    await until(lambda: _nothing_left_but(before))


async def _nothing_left_but(before: set[str]) -> bool:
    return leftovers() <= before


async def _all_gone(pids: set[int]) -> bool:
    return not any(map(alive, pids))


async def test_sigterm_drains_the_pod_and_ends_it_with_its_last_session(launch, connect_to):
    front, ready = await launch(MEDIAPOD_GRACE_SECONDS="240")
    url = f"http://127.0.0.1:{ready['http_port']}"
    client = await connect_to(url)
    await client.wait_for(5)
    parts = children(front.pid)
    front.terminate()
    await until(lambda: _refuses(url))
    came_back = len(client.returned)
    await client.wait_for(came_back + 10)
    await client.close()
    assert await asyncio.wait_for(front.wait(), 120) == 0  # long before the grace period is over
    assert not any(map(alive, parts))


async def _refuses(url: str) -> bool:
    answer = await get(f"{url}/readyz")
    return answer.status_code == 503 and answer.json()["reasons"] == ["draining"]


async def test_a_pod_that_cannot_run_says_why_and_exits_with_the_code_of_its_worker():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mediapod"),
        env={"PATH": os.environ["PATH"], **ENVIRONMENT, "MEDIAPOD_STAGES": '[{"name": "a", "effect": "Blurr"}]'},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 2
    assert b"MEDIAPOD_STAGES" in stderr
    assert b"GaussianBlur" in stderr


LEAST_ROUNDS = 4


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_pod_whose_parts_are_killed_at_random_leaks_nothing_and_always_comes_back(pod, connect_to):
    it = await pod(MEDIAPOD_DEVICE="Simulated", MEDIAPOD_HEARTBEAT_SECONDS="2")
    ends = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "240"))
    randomness, open_files = random.Random(), []  # noqa: S311
    before = counters(await samples(it.admin_url))
    # Who is lost again soon is started later each time, so a round may take half a minute.
    while time.monotonic() < ends or len(open_files) < LEAST_ROUNDS:
        client = await connect_to(it.url)
        await client.wait_for(5, timeout=60)
        parts = [*it.front.crew.workers, it.front.crew._device.member]
        victim = randomness.choice([part for part in parts if part is not None])
        os.kill(victim.process.pid, randomness.choice([signal.SIGKILL, signal.SIGSTOP]))
        await until(lambda victim=victim: _whole_without(it, victim), 90)
        await client.close()
        await until(lambda: _taken(it, 0))
        found = counters(await samples(it.admin_url))
        assert not {key: value for key, value in before.items() if found[key] < value}
        before = found
        open_files.append(descriptors())
    lost = sum(value for (name, _), value in before.items() if name == "mediapod_processes_lost_total")
    assert lost >= len(open_files)
    assert max(open_files[-3:]) <= max(open_files[:3]) + 4, open_files


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _whole_without(it: Pod, victim) -> bool:
    device = it.front.crew._device.member
    whole = len(it.front.crew.workers) == 2 and device is not None and device.started.is_set()
    return whole and victim not in (*it.front.crew.workers, device)


@pytest.mark.soak
async def test_a_front_that_did_not_run_for_a_while_does_not_blame_its_workers(launch):
    front, ready = await launch(MEDIAPOD_HEARTBEAT_SECONDS="3")
    before = children(front.pid)
    for _ in range(3):
        os.kill(front.pid, signal.SIGSTOP)
        await asyncio.sleep(6)
        os.kill(front.pid, signal.SIGCONT)
        await asyncio.sleep(1)
        assert (await get(f"http://127.0.0.1:{ready['admin_port']}/readyz")).status_code == 200
    assert children(front.pid) == before


@pytest.mark.soak
async def test_without_cuda_every_worker_uses_its_own_cpu(pod, connect_to):
    pytest.importorskip("torch", reason="whether there is CUDA is asked of torch")
    it = await pod(MEDIAPOD_DEVICE="GPU")
    if it.front.crew.device == "cuda":
        pytest.skip("there is CUDA here")
    assert it.front.crew.device == "cpu"
    assert await metric(it.admin_url, "mediapod_device_fallbacks_total", "cuda_unavailable") == 1
    client = await connect_to(it.url)
    await client.wait_for(5)
    assert len(it.front.crew._members()) == 2, "the device process has ended"
