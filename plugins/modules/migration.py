#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Apply database migrations with a proven backup first, a rehearsal on a copy of it, and a way back
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Tells at which revision the databases of Alembic projects are and which migrations are not applied, and applies them.
  - Refuses without a backup of the database that is proven and young enough. Then runs the upgrade and the downgrade on a copy restored
    from that backup, and only when the upgrade succeeds there, the upgrade itself.
  - Afterwards the database must be at the target, and O(migrations[].verify) must succeed. Otherwise it goes back by downgrade, if that is
    known to lead back to what was there before; else the outcome names the copy to restore with M(sre.runbooks.restore).
  - Killed at any moment, the next run knows where the database was and which copy is the way back, and ends the upgrade or goes back.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Tells what would be applied, and which copy would be the way back. Nothing is rehearsed.
  diff_mode:
    support: full
    details: The revisions before and after.
options:
  migrations:
    description: The projects.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name for the outcome.
        type: str
        required: true
      directory:
        description: The folder of C(alembic.ini), from which Alembic is started.
        type: path
        required: true
      command:
        description: The words that start Alembic; a program with a slash is looked for in O(migrations[].directory).
        type: list
        elements: str
        default: [alembic]
      environment:
        description: Variables for Alembic. Values of eight characters and more are never shown.
        type: dict
        default: {}
      environment_file:
        description: File on the host with such variables, C(NAME=value) a line. O(migrations[].environment) wins.
        type: path
      url_variable:
        description: The variable that holds the database's address as SQLAlchemy wants it; the rehearsal gives it another value.
        type: str
        default: DATABASE_URL
      run_as:
        description: Operating system user that Alembic runs as; needs root or sudo.
        type: str
      target:
        description: The revision to upgrade to, V(head), V(heads) or an identifier.
        type: str
        default: head
      database:
        description: The C(name) of the database in O(databases), which is also the name of its backups. Needed for O(upgrade).
        type: str
      rehearse:
        description:
          - Whether to run upgrade and downgrade on a copy first. SQLite needs room in O(scratch_directory); PostgreSQL the right to create
            databases on the same server. Of an application whose C(env.py) does not heed O(migrations[].url_variable) it is refused.
        type: bool
        default: true
      downgrade:
        description: Whether the migrations' downgrades may be used as a way back.
        type: bool
        default: true
      verify:
        description: A command that must end with status 0 after the upgrade, started in O(migrations[].directory) with the same variables.
        type: list
        elements: str
        default: []
      timeout:
        description: Each call of Alembic is given up after this long.
        type: str
        default: 1h
      lock_timeout:
        description: PostgreSQL's migrations give up a lock that they wait for this long (C(PGOPTIONS)), for all others wait behind them.
        type: str
        default: 30s
      keep_backup:
        description: For how long after the upgrade its backup is pinned, so that no retention deletes it.
        type: str
        default: 7d
  databases:
    description: The databases, C(name), C(engine) and connection, as for M(sre.runbooks.backup).
    type: list
    elements: dict
    default: []
  upgrade:
    description: Whether to apply migrations, or only to tell of them.
    type: bool
    default: true
  backup_directory:
    description: Folder of all backups of the host.
    type: path
    default: /var/backups/sre-runbooks
  backup_level:
    description: How far the backup must be proven.
    type: str
    choices: [checksum, archive, restored]
    default: restored
  backup_max_age:
    description: How old it may be.
    type: str
    default: 1h
  encryption:
    description: How encrypted backups are read for the rehearsal.
    type: dict
    suboptions:
      recipients:
        description: Not used here, so that this can be the value that M(sre.runbooks.backup) gets.
        type: list
        elements: str
      identity:
        description: File with the secret key of C(age) on the host.
        type: path
  scratch_directory:
    description: Where a copy of a SQLite database lies during the rehearsal, in a folder that only its user may read.
    type: path
    default: /var/tmp
requirements:
  - Alembic, as the project has it
  - psql and pg_restore for the engine postgresql, mariadb or mysql for the engine mysql
seealso:
  - module: sre.runbooks.backup
"""

EXAMPLES = r"""
- name: Tell what is not applied
  sre.runbooks.migration:
    migrations:
      - {name: mcp, directory: /opt/mcp/backend, command: [venv/bin/alembic], environment_file: /opt/mcp/backend/.env}
    upgrade: false
  register: migration_state

- name: Upgrade, with a way back
  sre.runbooks.migration:
    migrations:
      - name: mcp
        directory: /opt/mcp/backend
        command: [venv/bin/alembic]
        environment_file: /opt/mcp/backend/.env
        run_as: mcp
        database: mcp
    databases:
      - {name: mcp, engine: postgresql, run_as: postgres}
    backup_max_age: 30m
  register: migration_result
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
due:
  description: Names of the databases that migrations are to be applied to, and that need a backup first.
  returned: success
  type: list
  elements: str
  sample: [mcp]
outcomes:
  description: One for each project.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: C(alembic) and the project's name.
      type: str
      sample: alembic:mcp
    stage:
      description: Always V(migration).
      type: str
      sample: migration
    status:
      description:
        - V(ok); V(warning) when migrations are not applied and none were to be, or another run is at it; V(critical) when nothing could be done or
          the upgrade failed.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "the database is at c3: 2 migrations applied in 1.4 s, rehearsed and back"
    metrics:
      description: C(pending), C(applied), C(duration_seconds), C(rehearsal_seconds).
      type: dict
      sample: {pending: 0, applied: 2, duration_seconds: 1.4, rehearsal_seconds: 1.2}
    details:
      description:
        - C(current), C(heads) and C(pending) revisions, the C(copy) that is the way back, what was C(rehearsed), and after a failure what to
          C(restore), if that is needed.
      type: dict
      sample: {current: [c3], heads: [c3], pending: [b2, c3]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._migration import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: migrate(module), conceal=["migrations", "databases"])


def migrate(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, migrate, return the envelope."""
    plans, settings, secrets = _settings.read(module.params)
    module.no_log_values.update(secrets)
    state_dir = state.directory(module.params["state_dir"])
    commands = command.Commands(module.run_command)
    return _run.run(plans, settings, commands, state_dir, module.no_log_values.update, module.check_mode)


if __name__ == "__main__":
    main()
