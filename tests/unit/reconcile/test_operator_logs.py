"""--log-format and --log-level: one record a line, in JSON for machines, with a decision's sentence for people."""

import json
import subprocess
import sys

import pytest

# In a process of its own: logging is configured once, for the whole process.
PROGRAM = """
import logging, sys, structlog
from mediapipeline_operator.runtime.logs import configure_logs
configure_logs(sys.argv[1], sys.argv[2])
log = structlog.get_logger("operator")
log.debug("scaling_decision", pipeline="media/studio", text="studio: hold 2", to=2)
log.info("scaling_decision", pipeline="media/studio", text="studio: up 3→4 because of this", to=4)
logging.getLogger("some.library").warning("told by %s", "a library")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("pass_failed", pipeline="media/studio")
"""


def lines(log_format: str, level: str) -> list[str]:
    command = [sys.executable, "-X", "utf8", "-c", PROGRAM, log_format, level]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=180).stdout.splitlines()


def test_json_is_one_object_a_line() -> None:
    records = [json.loads(line) for line in lines("json", "INFO")]
    assert [record["event"] for record in records] == ["scaling_decision", "told by a library", "pass_failed"]
    assert records[0].items() >= {"level": "info", "pipeline": "media/studio", "to": 4}.items()
    assert "text" not in records[0], "the sentence says nothing that the fields do not"
    assert "ZeroDivisionError" in records[2]["exception"]


def test_text_shows_a_decision_by_its_sentence() -> None:
    shown = lines("text", "INFO")
    assert shown[0].endswith("INFO    studio: up 3→4 because of this")
    assert "told by a library" in shown[1]
    assert "pass_failed pipeline=media/studio" in shown[2]


@pytest.mark.parametrize(("level", "decisions"), [("DEBUG", 2), ("INFO", 1), ("WARNING", 0)])
def test_the_level_is_obeyed(level: str, decisions: int) -> None:
    assert sum("scaling_decision" in line for line in lines("json", level)) == decisions
