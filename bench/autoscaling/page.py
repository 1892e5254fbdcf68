"""The result as tables of a page of the documentation, between two marks.

In bench/, after `make bench-autoscaler`:
    python -m autoscaling.page ../build/bench/autoscaler.json ../docs/design/2026-11-21-autoscaler-benchmark.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results: written by bench/autoscaling/page.py -->", "<!-- end of results -->"
OURS = "ours SLO"
COLUMNS = {
    "missed frames": ("missed %", "{:.3f}"),
    "rejected session-time": ("rejected %", "{:.3f}"),
    "replica-hours over the clairvoyant bound's": ("x bound", "{:.2f}"),
    "sessions killed by scaling": ("killed", "{:.1f}"),
    "reversals within 10 minutes": ("reversals", "{:.1f}"),
    "longest spell of trouble": ("trouble s", "{:.0f}"),
    "scale-downs without usable measurements": ("blind downs", "{:.1f}"),
}
PARTS = {
    "replica-hours over the clairvoyant bound's": "x bound",
    "of that, above 1: the target utilisation": "target",
    "of that, above 1: whole replicas": "rounding",
    "of that, above 1: serving replicas above those": "kept",
    "of that, above 1: draining and terminating ones": "leaving",
}


def tables(found: Mapping[str, Any]) -> str:
    """Markdown: what was run, where the hours go, where we lose, and a folded table for each scene."""
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    scenes = list(dict.fromkeys(row["measure"].rsplit(": ", 1)[0] for row in rows if "above 1" not in row["measure"]))
    by_name = {row["measure"]: row for row in rows}
    lines = [_header(found), "", *_hours(scenes, by_name), "", "### Where we lose in this run"]
    lines += [f"- {line}" for line in found["losses"] or ["nowhere"]]
    lines += ["", "### Every scene, every law"]
    for scene in scenes:
        lines += ["", f"<details><summary>{scene}</summary>", "", *_scene(scene, by_name), "", "</details>"]
    return "\n".join(lines)


def _header(found: Mapping[str, Any]) -> str:
    tuned = ", ".join(f"{law}: {setting}" for law, setting in found["tuned"].items())
    note = found["rows"][0]["note"]
    return f"{found['date']}, commit {found['commit'][:10]}; {note}. Tuned on other seeds: {tuned}."


def _hours(scenes: Sequence[str], by_name: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not all(f"{scene}: {measure}" in by_name for scene in scenes for measure in PARTS):
        return ["(Where the hours go was not part of this result.)"]
    titles = " | ".join(PARTS.values())
    lines = ["### Where the hours of policy SLO go", "", f"| scene | {titles} |", "|---|" + "---|" * len(PARTS)]
    for scene in scenes:
        cells = [f"{by_name[f'{scene}: {measure}']['ours']:.2f}" for measure in PARTS]
        lines.append(f"| {scene} | {' | '.join(cells)} |")
    return lines


def _scene(scene: str, by_name: Mapping[str, Mapping[str, Any]]) -> list[str]:
    titles = " | ".join(title for title, _ in COLUMNS.values())
    lines = [f"| law | {titles} |", "|---|" + "---|" * len(COLUMNS)]
    for law in (OURS, *by_name[f"{scene}: missed frames"]["peers"]):
        cells = [form.format(_value(by_name[f"{scene}: {measure}"], law)) for measure, (_, form) in COLUMNS.items()]
        name = f"**{law}**" if law.startswith("ours") else law
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _value(row: Mapping[str, Any], law: str) -> float:
    return float(row["ours"] if law == OURS else row["peers"][law])


def main() -> None:
    """Replaces what is between the marks."""
    source, page = Path(sys.argv[1]), Path(sys.argv[2])
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    written = tables(json.loads(source.read_text(encoding="utf-8")))
    page.write_text(f"{before}{BEGIN}\n{written}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
