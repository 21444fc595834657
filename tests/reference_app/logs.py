# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The logs in the forms the systems write them: Python logging, access log, JSON lines."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from datetime import UTC, datetime
from pathlib import Path

PLAIN = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
#: What the error codes mean (row L3).
ERROR_CODES = {
    "AUTH_001": "Invalid credentials",
    "AUTH_002": "Token expired",
    "AUTH_003": "Insufficient permissions",
    "VAL_001": "Validation error",
    "DB_001": "Database connection error",
    "API_001": "Rate limit exceeded",
}
#: Log file names after the system's name.
SUFFIXES = {
    "main": ".log",
    "performance": "_performance.log",
    "errors": "_errors.log",
    "audit": "_audit.log",
    "access": "_access.log",
    "events": "_events.jsonl",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the record's `fields` beside the usual ones."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "timestamp": moment,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Logs:
    """The loggers of one system. `main` and `events` hold everything but the access log; `errors` what is an error.

    Files are reopened after a rename (WatchedFileHandler), so that a rotated log loses no line (row L5).
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = {kind: folder / f"{name}{suffix}" for kind, suffix in SUFFIXES.items()}
        self.main = logging.getLogger(name)
        self.performance = logging.getLogger(f"{name}.performance")
        self.audit = logging.getLogger(f"{name}.audit")
        self.access = logging.getLogger(f"{name}.access")
        self.main.setLevel(logging.INFO)
        self.main.propagate = self.access.propagate = False
        errors = self._handler("errors", logging.Formatter(PLAIN))
        errors.setLevel(logging.ERROR)
        self._handlers = [
            (self.main, self._handler("main", logging.Formatter(PLAIN))),
            (self.main, self._handler("events", JsonFormatter())),
            (self.main, errors),
            (self.performance, self._handler("performance", logging.Formatter(PLAIN))),
            (self.audit, self._handler("audit", logging.Formatter(PLAIN))),
            (self.access, self._handler("access", logging.Formatter("%(message)s"))),
        ]
        for logger, handler in self._handlers:
            logger.addHandler(handler)

    def failure(self, code: str, text: str, **fields: object) -> None:
        """Write one error line with its code."""
        self.main.error("[%s] %s: %s", code, ERROR_CODES[code], text, extra={"fields": {"code": code, **fields}})

    def request(self, remote: str, line: str, status: int, size: int, seconds: float) -> None:
        """Write one line of the access log: combined form without agent, the duration in seconds last."""
        moment = time.strftime("%d/%b/%Y:%H:%M:%S %z")
        self.access.info('%s - - [%s] "%s" %d %d %.3f', remote, moment, line, status, size, seconds)

    def close(self) -> None:
        for logger, handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()

    def _handler(self, kind: str, formatter: logging.Formatter) -> logging.Handler:
        handler = logging.handlers.WatchedFileHandler(self.paths[kind], encoding="utf-8")
        handler.setFormatter(formatter)
        return handler
