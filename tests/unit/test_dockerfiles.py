"""The images: linted, non-root, pinned, with a health check, built only from files that are let into the context."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"Dockerfile.operator": "mediapipeline_operator", "Dockerfile.media": "mediapod"}


@pytest.fixture(params=sorted(MODULES))
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return ROOT / str(request.param)


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert program, "hadolint is missing: pip install -r tests/requirements.txt"
    return subprocess.run([program, str(path)], capture_output=True, text=True, timeout=180, check=False)


def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    result = hadolint(dockerfile)
    assert (result.returncode, result.stdout) == (0, "")


def test_hadolint_would_find_an_unpinned_base(tmp_path: Path) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM python\n")
    assert "DL3006" in hadolint(broken).stdout


def test_every_stage_starts_from_a_tag(dockerfile: Path) -> None:
    bases = re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"\S+:[\w.-]*\d[\w.-]*", base) for base in bases)


def test_the_image_runs_our_module_as_a_numeric_user_and_checks_its_health(dockerfile: Path) -> None:
    final = dockerfile.read_text().split("\nFROM ")[-1]
    assert "USER 10001:10001" in final  # runAsNonRoot cannot verify a name
    assert f'ENTRYPOINT ["python", "-m", "{MODULES[dockerfile.name]}"]' in final
    assert "HEALTHCHECK" in final


def test_what_is_copied_exists_and_is_let_into_the_context(dockerfile: Path) -> None:
    sources = re.findall(r"^COPY (?!--from)(\S+) ", dockerfile.read_text(), re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text()
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed
