# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of the database that DATABASE_URL names, in the environment or in the file .env beside alembic.ini."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa
from alembic import context

settings = dict(line.split("=", 1) for line in Path(".env").read_text(encoding="utf-8").splitlines() if "=" in line)
with sa.create_engine(os.environ.get("DATABASE_URL") or settings["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
