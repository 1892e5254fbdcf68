"""Structured logs: one JSON object a record, or one readable line. Records of libraries go the same way."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

_QUIET = ("aiohttp.access", "urllib3", "asyncio")


def configure_logs(log_format: str, level: str) -> None:
    """Call once, before the first record. `log_format`: json or text."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("kopf").setLevel(logging.CRITICAL)  # what ends kopf is logged once by its supervisor


def _renderers(log_format: str) -> list[Processor]:
    if log_format == "json":
        return [_without_sentence, structlog.processors.JSONRenderer(sort_keys=False)]
    return [_text_line]


def _without_sentence(logger: Any, name: str, event: EventDict) -> EventDict:
    """The sentence of the text form says nothing that the fields do not."""
    event.pop("text", None)
    return event


def _text_line(logger: Any, name: str, event: EventDict) -> str:
    """`time LEVEL message key=value`; a decision carries its sentence in `text` and is shown by that alone."""
    time, level = event.pop("timestamp", ""), str(event.pop("level", "info")).upper()
    message = event.pop("event", "")
    sentence = event.pop("text", None)
    trouble = event.pop("exception", None)
    if sentence is not None:
        return f"{time} {level:7} {sentence}"
    pairs = "".join(f" {key}={value}" for key, value in event.items())
    return f"{time} {level:7} {message}{pairs}" + (f"\n{trouble}" if trouble else "")
