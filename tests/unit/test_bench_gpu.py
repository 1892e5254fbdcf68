"""The GPU benchmark: with torch on the CPU it measures what it says, without CUDA it says why it does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mediapod[torch]'")

BENCH = Path(__file__).parents[2] / "bench" / "gpu.py"
TINY = ("--size", "64x48", "--batches", "1,2", "--seconds", "0.1", "--most-sessions", "2")


def run(folder: Path, *arguments: str) -> tuple[str, dict[str, dict]]:
    """What it printed, and its rows by measure."""
    command = [sys.executable, str(BENCH), *arguments, "--output", str(folder)]
    environment = {"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    written = json.loads((folder / "gpu.json").read_text())
    assert written["benchmark"] == "gpu"
    return done.stdout, {row["measure"]: row for row in written["rows"]}


def test_effects_and_sessions_are_measured_against_eager_torch(tmp_path):
    _, rows = run(tmp_path, "--device", "cpu", "--effects", "BackgroundDim,GaussianBlur", *TINY)
    assert len(rows) == 2 * 2 * 3 + 2
    for measure, row in rows.items():
        assert row["ours"] is not None, row
        assert row["ours"] >= 0, row
        assert row["direction"] == ("lower" if row["unit"] == "ms" else "higher")
        assert bool(row["peers"]) == measure.startswith("GaussianBlur"), row
    rate = rows["GaussianBlur 64x48, batch 2: frames a second"]["ours"]
    assert rate == pytest.approx(2000 / rows["GaussianBlur 64x48, batch 2: p50"]["ours"], rel=0.9)


def test_without_cuda_every_row_says_why_there_is_no_figure(tmp_path):
    said, rows = run(tmp_path, "--effects", "GaussianBlur", *TINY)
    assert "there is no CUDA device here" in said
    assert len(rows) == 2 * 3 + 2
    assert {(row["ours"], row["note"]) for row in rows.values()} == {(None, "there is no CUDA device here")}
