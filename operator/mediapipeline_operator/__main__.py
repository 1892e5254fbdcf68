"""`python -m mediapipeline_operator`: starts the operator. `--help` lists the flags."""

from __future__ import annotations

import asyncio
import gc
import sys

import structlog
from pydantic import ValidationError

from mediapipeline_operator.runtime.app import App
from mediapipeline_operator.runtime.logs import configure_logs
from mediapipeline_operator.runtime.settings import load_settings
from mediapipeline_operator.shell.cluster.credentials import NoCredentialsError

# Thousands of pipelines are millions of objects that live on, and each tick makes hundreds of thousands that do not:
# with Python's own (700, 10, 10) half of the time of a tick went into looking for cycles, of which there are few.
_COLLECT_AFTER = (50_000, 10, 10)  # rarer yet, and what comes and goes piled up (make soak: memory stays flat)


def main() -> None:
    """Runs until SIGTERM or SIGINT. Exits 2 for bad settings, 1 when it cannot start."""
    try:
        settings = load_settings(sys.argv[1:])
    except ValidationError as error:
        for item in error.errors():
            print(f"--{'-'.join(str(part) for part in item['loc'])}: {item['msg']}", file=sys.stderr)
        sys.exit(2)
    gc.set_threshold(*_COLLECT_AFTER)
    configure_logs(settings.log_format, settings.log_level)
    try:
        asyncio.run(App(settings).run())
    except (NoCredentialsError, OSError) as error:
        structlog.get_logger(__name__).error("operator_cannot_start", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
