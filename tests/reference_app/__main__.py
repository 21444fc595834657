# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start the service, or fill its database and log folder."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from waitress import create_server  # type: ignore[import-untyped]

from . import __version__
from .access import Access
from .application import create_app
from .database import Database
from .logs import Logs
from .meter import Meter
from .seed import seed_database, seed_logs
from .services import Services
from .settings import Settings, SettingsError
from .state import State

WORKER_THREADS = 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="reference_app", description=__doc__)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="NAME=value lines; the environment goes before them"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="fill the database with N tasks and what belongs to them, and end"
    )
    parser.add_argument(
        "--seed-logs", type=int, metavar="DAYS", help="write rotated logs of the last DAYS days, and end"
    )
    parser.add_argument("--version", action="version", version=__version__)
    arguments = parser.parse_args()
    try:
        settings = Settings.load(arguments.config)
    except SettingsError as error:
        parser.error(str(error))
    if arguments.seed is None and arguments.seed_logs is None:
        return serve(settings)
    if arguments.seed is not None:
        seed_database(Database(settings.database_url), arguments.seed)
    if arguments.seed_logs is not None:
        seed_logs(settings.log_dir, settings.name, arguments.seed_logs)
    return 0


def serve(settings: Settings) -> int:
    """Answer requests until SIGTERM or SIGINT; the port file is written once the port answers."""
    logs = Logs(settings.log_dir, settings.name)
    database = Database(settings.database_url)
    state = State(settings, database, logs)
    parts = Services(settings, database, state, logs, Access(settings, database, logs), Meter(state))
    server = create_server(create_app(parts), host=settings.host, port=settings.port, threads=WORKER_THREADS)

    def leave(_number: int, _frame: FrameType | None) -> None:
        # Hung workers are let go first, or the server would wait for them.
        state.sickness.recover()
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    state.port = server.effective_port
    if settings.port_file is not None:
        temporary = settings.port_file.with_name(settings.port_file.name + ".part")
        temporary.write_text(f"{server.effective_port}\n", encoding="ascii")
        temporary.replace(settings.port_file)
    state.start_synchronisation()
    logs.main.info("%s %s listens on %s:%s", settings.name, __version__, settings.host, server.effective_port)
    try:
        server.run()
    finally:
        state.stop()
        database.close()
        logs.main.info("%s stopped", settings.name)
        logs.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
