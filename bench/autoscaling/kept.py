"""Results that outlive an interruption: the benchmark takes minutes, and a run is the same whenever it is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from autoscaling.job import Job, Result

ROOT = Path(__file__).parents[2]
SOURCES = ("operator/mediapipeline_operator/core", "operator/mediapipeline_operator/api")
HERE = ("hours.py", "job.py", "runs.py", "scenarios.py")  # the rest only shows results


class Kept(dict[Job, Result]):
    """Results by job, in a file that belongs to the code as it is: any change of the model or a law begins anew."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"autoscaler-runs-{digest(ROOT)}.jsonl"
        if self.path.exists():
            self.update(_read(self.path.read_text(encoding="utf-8").splitlines()))

    def add(self, job: Job, result: Result) -> None:
        """Keeps one result."""
        self[job] = result
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([asdict(job), asdict(result)]) + "\n")


def digest(root: Path) -> str:
    """Of everything that a result depends on."""
    found = hashlib.sha256()
    paths = [path for source in SOURCES for path in sorted((root / source).rglob("*.py"))]
    for path in (*paths, *(Path(__file__).with_name(name) for name in HERE)):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _read(lines: Iterable[str]) -> dict[Job, Result]:
    """The last line may be cut in half."""
    found: dict[Job, Result] = {}
    for line in lines:
        try:
            job, result = json.loads(line)
            found[Job(**job)] = Result(**result)
        except (ValueError, TypeError):
            continue
    return found
