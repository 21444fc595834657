#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_check
short_description: Make all health checks of a host in one call
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes all checks of a host at the same time, compares what they measured with the bounds given, and returns one outcome for
    each thing looked at.
  - A finding is data. A full disk is an outcome with status V(critical), not a failed task. A check that could not be made is
    V(unknown), never V(ok); a target that does not answer is V(critical).
  - All options are read before the first check is made; a mistake in one of them fails the task.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The same checks are made; the observations that bounds with C(for) need are not kept.
  diff_mode:
    support: none
    details: Nothing is changed.
options:
  checks:
    description:
      - The checks. Each has a C(name), unique among those of its C(type), and the options of its type, see the notes.
      - C(warning) and C(critical) bound the type's main metric (the first in its list). A bound is a comparison and a number, such
        as V(> 85), V(< 0.5), V(>= 10 MiB), V(> 1000 ms); a list means any of them.
      - With C(for), as in V(> 85 for 5m), a bound counts once every observation since that long ago was past it; until then the
        outcome is V(ok) and RV(outcomes[].pending) is true.
      - C(metrics) is a dictionary from the names of other metrics to their C(warning) and C(critical).
      - C(timeout) (default 5s) is the time limit of the one check.
    type: list
    elements: dict
    required: true
  workers:
    description: How many checks are made at the same time.
    type: int
    default: 16
  timeout:
    description: Time limit of all checks together, in seconds. Checks without an answer by then are V(unknown).
    type: float
    default: 30
notes:
  - B(cpu) measures C(cpu_percent), C(iowait_percent), C(load1_per_cpu), C(load5_per_cpu), C(load15_per_cpu),
    C(pressure_avg300_percent). Own option C(interval) (default 100ms).
  - B(memory) measures C(memory_percent), C(available_bytes), C(swap_percent), C(oom_kills) (since boot).
  - B(clock) measures C(offset_seconds), without sign, against the NTP server C(server) and C(port) (default 123), or, without one, as
    chronyd or the kernel has it. A clock that nobody keeps is V(unknown).
  - B(disk) measures C(used_percent), C(free_bytes), C(inodes_percent), C(full_in_seconds) for each of C(paths) (default every
    real file system). C(full_in_seconds) is predicted from the observations of at least four days, 31536000 is a year or more.
  - B(directory) measures C(size_bytes), C(files), C(newest_age_seconds) of everything below the folder C(path) on its file system, or
    of the files in it whose name matches one of the globs C(patterns). Symbolic links in it are not followed.
  - B(process) measures C(processes), C(memory_percent), C(cpu_percent), C(open_files), C(age_seconds) of the processes whose
    command line matches the regular expression C(pattern), or of the one in C(pidfile). None at all is V(critical) unless
    C(processes) has bounds of its own.
  - B(command) runs any program of the Monitoring Plugins as it is, as C(argv). Its exit status is the outcome's, and its performance data
    are the metrics, in base units under their labels (C(time=12ms) is C(time_seconds)); C(value) is the first of them. Own options
    C(environment), kept secret, and C(run_as).
  - B(service) measures C(active), C(restarts), C(uptime_seconds) of each of the systemd C(units). One that is not active is
    V(critical) unless C(active) has bounds of its own.
  - B(port) measures C(connect_seconds) to C(host) (default 127.0.0.1) and C(port), which must be C(state) V(open) or V(closed).
  - B(tls) measures C(days_remaining) until the first certificate of a chain expires, of the server C(host) and C(port) (default 443) or in the
    PEM file C(path). Own options C(server_name) (default C(host)), C(starttls) with a protocol such as V(smtp) or V(postgresql),
    C(validate_certs), C(ca_path). What a client would not believe is V(critical). Needs C(openssl).
  - B(http) measures C(response_seconds), C(status_code) and each name under C(values), a dictionary from names to paths in the
    JSON body such as C(database.pool.0.used). Own options C(url), C(method), C(headers), C(body), C(validate_certs), C(ca_path), and
    C(expect) with C(status) (a list, default 200), C(json) (paths and the values they must have), C(contains), C(matches).
  - B(prometheus) measures C(value) of the PromQL expression C(query) at the server C(url), for each series that it gives (at most
    100). Nothing, NaN and infinity are V(unknown). Own options C(headers), C(validate_certs), C(ca_path) as B(http).
  - B(metrics) measures C(response_seconds) of the exposition page C(url) and each name under C(samples), a dictionary from names to
    selectors such as C(node_load1) or C(jobs{queue="mail"}); the first of them is the main metric. A selector that takes nothing is
    V(unknown), one that takes several samples gives an outcome for each. Own options C(headers), C(validate_certs), C(ca_path).
  - B(sqlite) measures C(response_seconds), C(size_bytes), C(free_percent), C(wal_bytes) of the database C(path); with C(integrity)
    V(quick) or V(full) its pages are checked too (default V(none)).
  - B(postgresql) measures C(response_seconds), C(connections_percent), C(xid_age_percent), C(longest_transaction_seconds),
    C(idle_in_transaction_seconds), C(replication_lag_seconds), C(cache_hit_percent), C(dead_tuples_percent), C(size_bytes).
    Own option C(connection) with C(database), C(host), C(port), C(user), C(password), C(run_as) (an operating system user, for peer
    authentication; needs root or sudo), C(container). Needs C(psql).
  - B(mysql) measures C(response_seconds), C(connections_percent), C(replication_lag_seconds), C(size_bytes) of a MariaDB or MySQL server.
    Own option C(connection) with C(database), C(host), C(port), C(socket), C(user), C(password), C(run_as) (for socket authentication; needs
    root or sudo), C(container). Needs C(mariadb) or C(mysql).
  - B(redis) measures C(response_seconds), C(memory_percent), C(hit_percent), C(clients_percent), C(last_save_age_seconds).
    Own option C(connection) with C(host), C(port), C(socket), C(user), C(password), C(container). Needs C(redis-cli).
  - B(file) measures C(age_seconds) (of the newest), C(size_bytes), C(files) of what the glob C(path) matches. Nothing at all is
    V(critical) unless C(files) has bounds of its own.
  - B(containers) counts C(running), C(restarting), C(unhealthy) containers of C(runtime) V(podman) or V(docker) (default what is
    installed), of the compose C(project), or with C(names), or all. One that was asked for and does not run is V(critical) unless it ended
    with status 0 and is not to be restarted.
  - B(packages) counts C(security_updates) and C(updates) in the host's own package lists, without fetching anything, and tells whether
    a reboot is required (C(reboot_required), 0 or 1). Lists older than a week are a V(warning).
  - B(migrations) counts the Alembic revisions that a database has not (C(pending)). Own options C(directory) (of alembic.ini),
    C(command) (default alembic), C(environment), C(run_as). Any is V(critical) unless C(pending) has bounds of its own.
  - B(environment) counts what is C(missing) of the C(variables) in C(file), or tells whether C(program) is missing or older than
    C(minimum_version); C(arguments) (default --version) make it tell its version. Any is V(critical) unless C(missing) has bounds of its own.
  - B(log_freshness) measures C(age_seconds) since the last line that matches the regular expression C(pattern) in the files of the
    glob C(path), or in the journal of C(unit). Own options C(timestamp) and C(zone) for stamps that are not found by themselves, and
    C(limit) (default 64 MiB, read from the end). No such line is V(critical).
  - B(backup) measures C(age_seconds) and C(size_bytes) of the newest copy made by M(sre.runbooks.backup) in C(directory), for each of
    C(names) (default all), verified at C(level) V(checksum), V(archive) or V(restored) (default) or better.
requirements:
  - psutil (for cpu, memory, disk without paths, and process)
seealso:
  - module: sre.runbooks.backup
"""

EXAMPLES = r"""
- name: Check the host, the service and its databases
  sre.runbooks.health_check:
    checks:
      - {name: cpu, type: cpu, warning: "> 80 for 5m", critical: "> 95 for 5m"}
      - {name: memory, type: memory, warning: "> 80", critical: "> 95"}
      - name: disk
        type: disk
        warning: "> 85"
        critical: "> 90"
        metrics:
          inodes_percent: {warning: "> 80"}
      - {name: api, type: service, units: [feature11.service]}
      - name: health
        type: http
        url: http://127.0.0.1:8000/health
        expect:
          json: {status: healthy, database: connected}
        warning: "> 200 ms"
        critical: "> 5 s"
      - name: allocation
        type: http
        url: http://127.0.0.1:8000/api/metrics
        values:
          utilization: average_utilization
        metrics:
          utilization: {warning: ["< 0.50", "> 0.95"]}
      - name: database
        type: postgresql
        connection: {database: ghosteam_v5, run_as: postgres}
        warning: "> 1s"
        critical: "> 5s"
      - {name: last backup, type: backup, warning: "> 26h", critical: "> 50h"}
  register: health
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: warning
outcomes:
  description: One for each thing looked at.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: What it is about, as C(type:name) or C(type:name:target); stable between runs.
      type: str
      sample: disk:/var
    stage:
      description: Always V(health).
      type: str
      sample: health
    status:
      description: V(ok), V(unknown), V(warning) or V(critical).
      type: str
      sample: warning
    summary:
      description: One line for a person.
      type: str
      sample: used_percent is 91.3 %, bound > 85; /var 91.3 % used, 4.5 GiB free
    metrics:
      description: The figures measured, in the base unit that the suffix of the name says.
      type: dict
      sample: {used_percent: 91.3, free_bytes: 4831838208}
    pending:
      description: True when a bound with C(for) is passed, but not yet for long enough.
      type: bool
      returned: when so
    details:
      description: Name and type of the check, and what else its type has to tell.
      type: dict
      sample: {check: disk, type: disk}
"""

import gc

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

# A short process leaves no garbage worth looking for; looking for it while modules are compiled took 8 ms of a host's 290.
gc.disable()
startup.compile_once()

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health import _check, _run

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(
        {
            "checks": {"type": "list", "elements": "dict", "required": True},
            "workers": {"type": "int", "default": 16},
            "timeout": {"type": "float", "default": 30},
        }
    )
    runbook.run(module, _run.STAGE, lambda: check(module), conceal=["checks"])


def check(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the checks, make them, return the envelope."""
    options = module.params
    limits = _run.limits(options["workers"], options["timeout"])
    checks, secrets = _check.read(options["checks"])
    host = _check.Host(command.Commands(module.run_command), time.time())
    result = _run.run(checks, host, limits, state.directory(options["state_dir"]), module.check_mode)
    return _run.conceal(result, secrets)


if __name__ == "__main__":
    main()
