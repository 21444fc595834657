#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back up databases and files, prove each copy, and keep as many as the policy says
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes a consistent copy of each source while it is in use, proves it up to the level asked for, writes a manifest with the
    evidence beside it, and deletes older copies that no rule keeps.
  - A copy is C(<directory>/<name>/<name>_<UTC yyyymmddThhmmssZ>.<ext>) with C(<that>.manifest.json) beside it. A file without
    a manifest is no copy. Files have mode 0600, folders 0700.
  - A source that cannot be backed up is an outcome with status V(critical) and keeps no other from its backup. The task fails when
    an option is wrong, which is found out before anything is changed, or when O(directory) cannot be used.
  - Killed at any moment, nothing good is lost; the next run removes what was left half done. A second run at the same
    time is told so by an outcome with status V(warning).
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Each source is looked at, and the outcomes say what would be done. Nothing is written, not even a lock.
  diff_mode:
    support: full
    details: The names of the copies before and after.
options:
  sources:
    description:
      - What to back up. Each has a C(name), which is unique and names its folder, an C(engine), and the engine's options, see the notes.
      - A source may have an O(interval), O(verify), O(retention), O(compression), O(encryption), O(limits), O(minimum_size), O(shrink_limit)
        and O(restic) of its own, which takes the place of that of all, whole. An empty O(encryption) or O(restic) means none.
      - C(secret) with the value V(true) says that copies of the source are worth protecting, as those of C(.env) files are. Without
        recipients in O(encryption) the task is then refused before anything was changed.
    type: list
    elements: dict
    required: true
  directory:
    description: Folder of all backups of the host; it is made when missing.
    type: path
    default: /var/backups/sre-runbooks
  interval:
    description:
      - A copy proven at the level of O(verify) that is younger than this means nothing to do for this source, as in V(20h).
      - Its checksum is compared once more; when it has been damaged, that is V(critical), and a new copy is made.
      - When not given, every run makes a copy.
    type: str
  verify:
    description:
      - How far each copy is proven.
      - V(checksum) compares what is on the disk with what was written.
      - V(archive) also reads the copy to its end with the program that would restore it.
      - V(restored) also restores it into a scratch place, compares it with the source at the moment of the dump (objects, rows of
        every table, content of every file), and cleans up.
    type: str
    choices: [checksum, archive, restored]
    default: restored
  retention:
    description:
      - Which copies are kept; the others are deleted after a new one was proven. Buckets are those of C(restic forget), the newest
        copy of each of the last so many hours, days, ISO weeks, months, years (UTC) in which there is one.
      - When not given, 30 daily copies are kept. A policy that keeps nothing is refused.
      - Nothing is deleted unless a newer copy proven at the level of O(verify) stays, nor after a failure of this source, nor when the size
        of the new copy is odd. Copies with a time stamp in the future count for nothing and are not deleted.
      - A copy with a file C(<copy>.pin) beside it is pinned, which means that it is never deleted. What stands in that file is for people.
    type: dict
    suboptions:
      keep_last:
        description: The newest so many copies.
        type: int
      keep_hourly:
        description: One for each of the last so many hours.
        type: int
      keep_daily:
        description: One for each of the last so many days.
        type: int
      keep_weekly:
        description: One for each of the last so many weeks.
        type: int
      keep_monthly:
        description: One for each of the last so many months.
        type: int
      keep_yearly:
        description: One for each of the last so many years.
        type: int
      keep_within:
        description: All that are newer than this, counted back from the newest, as in V(7d).
        type: str
      minimum_verified:
        description: At least so many copies proven at the level of O(verify) stay, whatever the other rules say. 1 when not given.
        type: int
  compression:
    description: How copies are compressed; with zstd when not given.
    type: dict
    suboptions:
      algorithm:
        description: The program to use; V(zstd) uses all processors.
        type: str
        choices: [zstd, gzip, none]
        default: zstd
      level:
        description: Its level, 1 to 19 for zstd (3 when not given), 1 to 9 for gzip (6 when not given).
        type: int
  encryption:
    description:
      - Copies are encrypted by C(age) after they were compressed; their names end in C(.age).
      - The host needs no secret key. So that the very bytes that stay are decrypted, restored and compared all the same, each run makes a
        key of its own, which is in memory alone and gone when the run has ended, and encrypts to it as well.
      - Scratch files of dump and proof lie in O(directory) for as long as those take, readable for the module's user alone.
    type: dict
    suboptions:
      recipients:
        description:
          - Public keys of those who can read the copies, by C(age-keygen) (V(age1...)) or SSH (V(ssh-ed25519 ...), V(ssh-rsa ...)). They are tried
            before anything is done.
          - Keys of age's plugins and post-quantum keys are refused, for they cannot be mixed with the key of the run.
        type: list
        elements: str
      identity:
        description: Path of a file on the host with the secret key of a recipient, by which copies are proven instead of by a key of the run.
        type: path
  limits:
    description: What one source may cost.
    type: dict
    suboptions:
      bytes:
        description: A source larger than this is not backed up, as in V(50GiB).
        type: str
      seconds:
        description: Backup and proof of one source, and bringing it to O(restic), are given up after this long, as in V(2h).
        type: str
  minimum_size:
    description: A copy smaller than this is a V(warning), and nothing is deleted, as in V(10kB).
    type: str
  shrink_limit:
    description:
      - A copy that is smaller than the median of the last seven by more than this many percent is a V(warning), and nothing is deleted.
      - V(100) turns this off.
    type: float
    default: 50
  restic:
    description:
      - A repository of C(restic) that the newest proven copy is brought to, with its manifest, as a snapshot with the tags C(sre-runbooks), the
        source's name and the level it was proven at. What does not get there is V(critical), though the copy here is good; the next
        run tries again.
      - The repository keeps what O(retention) keeps, decided over the snapshots that are in it, so that a folder of copies that got lost takes
        nothing with it. Snapshots with the tag C(pinned), and those of pinned copies, stay.
    type: dict
    suboptions:
      repository:
        description:
          - Where it is, as restic takes it, for example V(/mnt/nas/restic), V(sftp:backup@host:/srv/restic), V(s3:https://host/bucket).
        type: str
      password:
        description: Its password. Give this or O(restic.password_file).
        type: str
      password_file:
        description: Path of a file on the host with its password.
        type: path
      environment:
        description: What the storage needs besides, as V(AWS_ACCESS_KEY_ID) and V(AWS_SECRET_ACCESS_KEY). Values of eight characters or more are never shown.
        type: dict
      options:
        description: Extended options of restic by name, for example C(sftp.command). They are visible in the list of processes.
        type: dict
      init:
        description: Create the repository when there is none.
        type: bool
        default: false
      check:
        description: Run C(restic check) at the end, once for each repository that got a copy. Its outcome has the subject C(restic) and the repository.
        type: bool
        default: true
      read_data_subset:
        description: How much of the data the check reads and compares, as in V(5%), V(1/7) or V(500M); none when not given.
        type: str
  nice:
    description: The niceness of the module and of the programs that it starts on the host, 0 to 19. Others come first; an idle host is as fast as ever.
    type: int
    default: 10
  ionice:
    description: V(best-effort) takes its level at the disk from O(nice); V(idle) reads and writes only when nobody else does.
    type: str
    choices: [best-effort, idle]
    default: best-effort
requirements:
  - zstd or gzip, as O(compression) says
  - age 1.0 or newer for O(encryption)
  - restic 0.14 or newer for O(restic)
  - psql, pg_dump and pg_restore for the engine postgresql, of the server's major version or newer; pg_dumpall, initdb and postgres for
    C(globals)
  - mariadb-dump and mariadb for the engine mysql, of the server's release or newer (for MySQL mysqldump and mysql); mariadbd for C(globals)
  - redis-cli for the engine redis; redis-check-rdb to prove copies, of the server's release or newer
notes:
  - B(sqlite) copies the database C(path) through SQLite's online backup interface, in one read transaction in WAL mode; the source is
    never written to. Needs room for an uncompressed copy in O(directory).
  - B(postgresql) runs C(pg_dump) on C(database) (default the source's name) with C(host), C(port), C(user), C(password), C(run_as) (an
    operating system user, for peer authentication; needs root or sudo) or C(container) (the name of a running container that
    has the client programs). C(exclude) lists tables to leave out, as patterns such as V(public.session_*). V(restored) restores into a
    database C(sre_runbooks_verify_...) of the same server, which needs the right to create databases; it is always dropped again.
    Before that, the extensions that the dump needs are looked for, and the right to create them; where the server's disk is this
    host's, the room too. The manifest tells these extensions and the roles that own something or have rights.
  - B(postgresql) with C(globals=true) backs up what belongs to the whole cluster (roles, memberships, tablespaces, settings of
    roles) by C(pg_dumpall --globals-only); C(database) is the one to connect to (default V(postgres)). Without the right to read
    passwords, the copy is one without them, and a V(warning). V(restored) runs the script on a cluster that it makes with C(initdb)
    in the folder for temporary files, as C(run_as) or C(postgres) where this runs as root, and compares; this needs the server's
    programs on the host. The copy holds the hashes of passwords, O(encryption) is advised.
  - B(mysql) runs C(mariadb-dump) or C(mysqldump) on C(database) (default the source's name) in one transaction, without a lock and
    without C(RELOAD), with routines, triggers and events. C(host), C(port), C(socket), C(user), C(password), C(run_as) and C(container) say
    how to connect; without C(password) the user's option files are read. C(exclude) lists tables and views to leave out, as patterns; leave
    out the views of a table too. The rows are counted in the dump while it is written. The user needs C(SELECT), C(SHOW VIEW), C(TRIGGER) and
    C(EVENT) on the database and C(SELECT) on C(mysql.proc) (MySQL C(SHOW_ROUTINE)); without them objects would be missing without a word,
    which is a V(warning). V(restored) restores into a database C(sre_runbooks_verify_...) of the same server, which needs all
    rights on C(`sre\_runbooks\_verify\_%`.*); it is always dropped again. In there, events are
    disabled and definers left out; with the right to do that it stays out of the binary log, so off the replicas.
  - B(mysql) Tables of engines without transactions (MyISAM, Aria, MEMORY) are in no snapshot, which is a V(warning). With
    C(lock_tables=true) these tables, and no others, are locked against writers for the time of the dump; needs C(LOCK TABLES). A dump that
    finds a table dropped or altered begins anew. One that waits for a lock waits as long as the server lets it, or O(limits.seconds).
  - B(mysql) with C(globals=true) backs up users, roles and grants, as the server puts them into SQL; needs C(SELECT) on C(mysql.*).
    V(restored) runs the script on a MariaDB server that it makes in O(directory), without a network, and compares; this needs the
    package mariadb-server on the host, of the server's release. The copy holds the hashes of passwords, O(encryption) is advised.
  - B(redis) fetches what a replica gets (C(redis-cli --rdb)) from C(host) (default V(127.0.0.1)) and C(port) (default V(6379)) or
    C(socket), as C(user) with C(password), or in C(container). The server forks for it as for a replica of its own, and waits as long as its
    C(repl-diskless-sync-delay) says; its files are not touched. A user of its own needs C(+ping +info +psync +sync +replconf), and for
    a restore that finds the server's files by itself C(+config|get). V(restored) loads the copy
    into a server without a port in O(directory), which needs as much memory as the data (looked at before), room for the unpacked
    copy, and redis-tools on the host, of the server's release or newer; this holds for databases in containers too. Accounts and
    settings of the server are in its files, not in the copy.
  - B(files) archives C(paths) (globs are allowed). Patterns in C(exclude) with a slash are compared with whole paths, others with the last
    part. Symbolic links are archived as links. Files that vanish or change while they are read are a V(warning).
seealso:
  - module: sre.runbooks.backup_info
"""

EXAMPLES = r"""
- name: Back up two databases and the settings, once a day
  sre.runbooks.backup:
    sources:
      - {name: feature11, engine: sqlite, path: /var/lib/feature11/feature11.db}
      - {name: ghosteam_v5, engine: postgresql, run_as: postgres}
      - {name: roles, engine: postgresql, globals: true, run_as: postgres}
      - {name: shop, engine: mysql, container: shop-db, user: backup, password: "{{ vault_shop_backup_password }}"}
      - {name: cache, engine: redis, socket: /run/redis/redis.sock, verify: archive}
      - name: settings
        engine: files
        paths: [/etc/feature11, /opt/feature11/.env]
        exclude: ["*.pyc"]
        secret: true
        retention:
          keep_last: 100
    encryption:
      recipients:
        - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    interval: 20h
    retention:
      keep_daily: 30
      keep_weekly: 8
      keep_monthly: 12
  register: backup_result

- name: Back up a remote database, and trust the archive
  sre.runbooks.backup:
    sources:
      - name: mcp
        engine: postgresql
        host: db.example.com
        user: backup
        password: "{{ mcp_backup_password }}"
    verify: archive

- name: Keep a second copy of it in a bucket
  sre.runbooks.backup:
    sources:
      - {name: mcp, engine: postgresql, run_as: postgres}
    restic:
      repository: s3:https://storage.example.com/backups
      password: "{{ restic_password }}"
      environment:
        AWS_ACCESS_KEY_ID: "{{ bucket_key_id }}"
        AWS_SECRET_ACCESS_KEY: "{{ bucket_secret_key }}"
      init: true
      read_data_subset: 5%
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for each source, and one for each restic repository that was checked.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: Engine and name.
      type: str
      sample: postgresql:ghosteam_v5
    stage:
      description: Always V(backup).
      type: str
      sample: backup
    status:
      description:
        - V(ok), V(warning) (odd size, files that changed while they were read, another run is at it), or V(critical) (no copy could be
          made, or it could not be proven, or it is not in the restic repository).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "141.2 MiB in 5.4 s, restored and compared: 61 tables, 6 000 000 rows"
    metrics:
      description:
        - C(duration_seconds) and C(verify_seconds) of a new copy; C(size_bytes) and C(age_seconds) of the newest good copy; C(copies);
          C(restic_seconds) that bringing it to the repository took.
      type: dict
      sample: {duration_seconds: 5.4, verify_seconds: 9.1, size_bytes: 148060123, copies: 30, age_seconds: 14.6}
    details:
      description:
        - The C(path) and C(level) of the copy, the C(proof), C(versions), and which copies are C(kept) and C(deleted), with the reason;
          C(restic) with the C(repository), the C(snapshot) and what was C(forgotten) there.
      type: dict
      sample: {path: /var/backups/sre-runbooks/ghosteam_v5/ghosteam_v5_20261120T090000Z.dump.zst, level: restored}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _restic, _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import command, priority, runbook

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: backup(module), conceal=["sources", "encryption", "restic"])


def backup(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, back up, return the envelope."""
    items, secrets = _settings.items(module.params["sources"])
    module.no_log_values.update(secrets | _restic.secrets(module.params["restic"]))
    commands = command.Commands(module.run_command)
    jobs = _settings.jobs(module.params, items, commands)
    with priority.gently(module.params["nice"], module.params["ionice"], commands):
        return _run.run(jobs, commands, module.check_mode)


if __name__ == "__main__":
    main()
