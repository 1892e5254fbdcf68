"""A real Prometheus for tests: one that scrapes, or one whose database holds recorded series with exact values."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from devcluster.controlplane.addresses import free_port

Series = Mapping[str, Callable[[float], float | str | None]]
"""Name with labels -> value at a time (seconds of the Unix epoch); None: no sample."""
READY_SECONDS = 60


@contextmanager
def running(
    program: Path, folder: Path, scrapes: Sequence[Mapping[str, Any]] = (), interval: str = "1s"
) -> Iterator[str]:
    """The URL of a Prometheus on the database in `folder`, which scrapes as told."""
    config = {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": list(scrapes)}
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    flags = (
        f"--config.file={folder / 'config.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen((str(program), *flags), stdout=log, stderr=log) as process,
    ):
        try:
            _wait_ready(f"http://127.0.0.1:{port}", folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def _wait_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/-/ready", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"Prometheus did not get ready: {log.read_text()[-1000:]}")


def record(promtool: Path, folder: Path, series: Series, start: float, end: float, step: float) -> None:
    """Writes samples from `start` to `end` into the database in `folder`, by promtool's own backfilling.

    The end may lie ahead: a query sees what is before its time, as if it had just been scraped, and nothing depends on
    how busy the machine is. A server on such a database takes no scrapes before that end.
    """
    text = folder / "recorded.txt"
    with text.open("w") as out:
        for name, value in series.items():
            for index in range(int((end - start) / step) + 1):
                at = start + index * step
                found = value(at)
                if found is not None:
                    out.write(f"{name} {found} {at:.3f}\n")
        out.write("# EOF\n")
    command = (str(promtool), "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
