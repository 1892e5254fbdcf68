"""`python -m mediapipeline_operator`: starts the operator. `--help` lists the flags."""

from __future__ import annotations

import asyncio
import sys

import structlog
from pydantic import ValidationError

from mediapipeline_operator.runtime.app import App
from mediapipeline_operator.runtime.logs import configure_logs
from mediapipeline_operator.runtime.settings import load_settings
from mediapipeline_operator.shell.cluster.credentials import NoCredentialsError


def main() -> None:
    """Runs until SIGTERM or SIGINT. Exits 2 for bad settings, 1 when it cannot start."""
    try:
        settings = load_settings(sys.argv[1:])
    except ValidationError as error:
        for item in error.errors():
            print(f"--{'-'.join(str(part) for part in item['loc'])}: {item['msg']}", file=sys.stderr)
        sys.exit(2)
    configure_logs(settings.log_format, settings.log_level)
    try:
        asyncio.run(App(settings).run())
    except (NoCredentialsError, OSError) as error:
        structlog.get_logger(__name__).error("operator_cannot_start", error=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
