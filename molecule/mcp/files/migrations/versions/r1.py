# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tasks have an owner"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "r1", None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("owner", sa.Text))


def downgrade() -> None:
    op.drop_column("tasks", "owner")
