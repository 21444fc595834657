# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings from the environment and a file of NAME=value lines (the form of systemd's EnvironmentFile)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PREFIX = "REFERENCE_APP_"


class SettingsError(ValueError):
    """A setting is missing, unknown or not of its kind; the message names it."""


@dataclass(frozen=True)
class Settings:
    """`sync_seconds` is the time between synchronisations, `rate_limit` the calls a minute that one key may make."""

    name: str
    host: str
    port: int
    port_file: Path | None
    database_url: str
    log_dir: Path
    admin_token_file: Path
    sync_seconds: float
    rate_limit: int

    @classmethod
    def load(cls, file: Path | None) -> Settings:
        """Read the settings; raises SettingsError."""
        given = _read_file(file) if file is not None else {}
        given.update({name: value for name, value in os.environ.items() if name.startswith(PREFIX)})
        known = {PREFIX + field.upper() for field in cls.__dataclass_fields__}
        # What else stands in the file is of other programs.
        unknown = sorted(name for name in set(given) - known if name.startswith(PREFIX))
        if unknown:
            raise SettingsError(f"unknown setting {unknown[0]}; known are {', '.join(sorted(known))}")

        def text(field: str, default: str | None = None) -> str:
            value = given.get(PREFIX + field.upper(), default)
            if not value:
                raise SettingsError(f"the setting {PREFIX}{field.upper()} is missing")
            return value

        def number(field: str, default: str) -> float:
            try:
                return float(text(field, default))
            except ValueError:
                raise SettingsError(f"{PREFIX}{field.upper()} is no number: {given[PREFIX + field.upper()]}") from None

        port_file = given.get(PREFIX + "PORT_FILE")
        return cls(
            name=text("name", "feature11"),
            host=text("host", "127.0.0.1"),
            port=int(number("port", "8000")),
            port_file=Path(port_file) if port_file else None,
            database_url=text("database_url"),
            log_dir=Path(text("log_dir")),
            admin_token_file=Path(text("admin_token_file")),
            sync_seconds=number("sync_seconds", "300"),
            rate_limit=int(number("rate_limit", "600")),
        )


def _read_file(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    given = {}
    for line in lines:
        name, separator, value = line.strip().partition("=")
        if name and not name.startswith("#"):
            if not separator:
                raise SettingsError(f"{file}: no NAME=value line: {line}")
            given[name.strip()] = value.strip().strip("\"'")
    return given
