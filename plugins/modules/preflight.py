#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Prove an inventory on a host before it is used
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Takes what the stages take (checks, backup sources, scans, clean-ups) and tells what would go wrong with them on this host, and
    what is on this host that they leave out.
  - "The kinds of proof: C(policies) (those that contradict each other), C(reachability) (every check is made once, every source asked),
    C(programs), C(folders) (rights and room), C(databases), C(services), C(certificates) and C(logs) on the host that nothing covers;
    C(incidents) (runbooks that cannot be followed), C(schedules) (what is planned, and the windows that it keeps), C(steps) (a site's own
    programs), C(kpis) (whose figures nothing produces), C(scaling) (rules that overlap) and C(contacts) (whom it reaches)."
  - Nothing is changed, nothing is remembered, and a second run finds the same. A broken entry is a finding and keeps no other
    from being looked at. What may not be looked at is V(unknown) and names the right that is missing.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed.
options:
  checks:
    description: The checks of M(sre.runbooks.health_check).
    type: list
    elements: dict
    default: []
  health:
    description: Other options of M(sre.runbooks.health_check); C(timeout) is read.
    type: dict
    default: {}
  sources:
    description: The sources of M(sre.runbooks.backup).
    type: list
    elements: dict
    default: []
  backup:
    description: All other options of M(sre.runbooks.backup), such as C(directory), C(interval) and C(retention).
    type: dict
    default: {}
  targets:
    description: The C(targets) of M(sre.runbooks.backup_verify); C(recovery_point) is read.
    type: dict
    default: {}
  units:
    description: systemd units that a restore would stop and start.
    type: list
    elements: str
    default: []
  log_scan:
    description: The options of M(sre.runbooks.log_scan), C(sources) and C(rules) among them.
    type: dict
    default: {}
  log_cleanup:
    description: The options of M(sre.runbooks.log_cleanup); C(policies) is read.
    type: dict
    default: {}
  runbooks:
    description: Runbooks of incidents, those of the site and those that are shipped, see the role P(sre.runbooks.incident#role).
    type: list
    elements: dict
    default: []
  remedies:
    description: What the actions of runbooks need to know of the host, its C(runbooks_remedies).
    type: dict
    default: {}
  plans:
    description: What the controller knows of windows, schedules, steps, KPIs and contacts, as P(sre.runbooks.preflight_plans#filter) gives it.
    type: dict
    default: {}
  steps_timeout:
    description: The O(sre.runbooks.site_steps#module:timeout) for all steps of a cadence.
    type: str
    default: 1h
  scaling:
    description: The targets of M(sre.runbooks.scaling).
    type: list
    elements: dict
    default: []
  kinds:
    description: The kinds of proof to make. When not given, all.
    type: list
    elements: str
    choices: [certificates, contacts, databases, folders, incidents, kpis, logs, policies, programs, reachability, scaling, schedules, services, steps]
  run_every:
    description:
      - The time between two runs of the playbook that makes the backups and scans the logs. By default as the schedules of O(plans) have it, else C(24h).
    type: str
  drill_period:
    description:
      - The time between two rehearsals of a restore. Retention has to reach back further. By default as the schedules of O(plans) have it, else C(7d).
    type: str
  log_size:
    description: A log larger than this needs a clean-up.
    type: str
    default: 100MiB
  folders:
    description:
      - Folders below which SQLite databases are looked for, besides those that sources name. Files that processes have open are
        looked at wherever they are.
    type: list
    elements: path
    default: []
  tls_ports:
    description:
      - Ports of the host that are greeted by TLS, to see their certificates. When not given, all that are listened on, but for those of
        well-known plain protocols and those that a check knows as something else.
    type: list
    elements: int
  limits:
    description: How much is looked at in folders; when that is not enough, a finding says so.
    type: dict
    suboptions:
      files:
        description: Number of files.
        type: int
        default: 100000
      folders:
        description: Number of folders.
        type: int
        default: 10000
      seconds:
        description: Time for each search.
        type: float
        default: 10
  ignore:
    description:
      - Findings that are no problem here. They stay in the result with the status V(skipped) and the reason.
      - An entry matches by its patterns for subject and rule, both as the result shows them; one that would match everything is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      subject:
        description: Pattern, as in V(sqlite:/srv/cache/*).
        type: str
        default: "*"
      rule:
        description: Pattern, as in V(database_uncovered).
        type: str
        default: "*"
      reason:
        description: Why it is no problem.
        type: str
        required: true
notes:
  - Run it with the rights that the stages have. Without root, open files and sockets of other users' processes are hidden.
seealso:
  - module: sre.runbooks.health_check
  - module: sre.runbooks.backup
  - module: sre.runbooks.log_scan
  - module: sre.runbooks.log_cleanup
"""

EXAMPLES = r"""
- name: Prove an inventory on its hosts
  sre.runbooks.preflight:
    checks: "{{ runbooks_checks_shop }}"
    sources: "{{ runbooks_databases_shop }}"
    backup:
      interval: 20h
      retention: {keep_daily: 30}
    log_cleanup:
      policies: "{{ runbooks_logs_shop }}"
    ignore:
      - subject: sqlite:/srv/shop/cache/*
        reason: it is made anew at every start
  register: preflight_result

- name: See only whether policies contradict each other
  sre.runbooks.preflight:
    sources: "{{ runbooks_databases_shop }}"
    kinds: [policies]
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: warning
outcomes:
  description: One for each thing that something was found about, and one for each kind that found nothing.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The thing, as in C(postgresql:5432/shop), C(service:nginx.service) or C(log_scan:errors); C(preflight:<kind>) for a kind.
      type: str
      sample: postgresql:5432/shop
    stage:
      description: Always V(preflight).
      type: str
      sample: preflight
    status:
      description:
        - V(critical) for what cannot work, V(warning) for what is left out or contradicts itself, V(unknown) for what could not be
          looked at, V(skipped) for what is ignored.
      type: str
      sample: warning
    summary:
      description: What was found, and what to do about it.
      type: str
      sample: "no backup source covers it (141.2 MiB). Add it to runbooks_databases_*: {name: shop, engine: postgresql, database: shop}"
    metrics:
      description: Always empty.
      type: dict
      sample: {}
    details:
      description: The C(rules) that found it, rows of the documentation's table; what else is known of the thing.
      type: dict
      sample: {rules: [database_uncovered], engine: postgresql, name: shop, size_bytes: 148060123}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import argspec, command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
from ansible_collections.sre.runbooks.plugins.module_utils._health._run import conceal
from ansible_collections.sre.runbooks.plugins.module_utils._preflight import _inventory, _registry, _run

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = argspec.merge(
    _inventory.SPEC,
    {
        "kinds": {"type": "list", "elements": "str", "choices": list(_registry.NAMES)},
        "ignore": {"type": "list", "elements": "dict", "default": [], "options": _run.IGNORE},
    },
)


def main() -> None:
    module = runbook.build(SPEC)
    runbook.run(
        module,
        _run.STAGE,
        lambda: preflight(module),
        conceal=["checks", "health", "sources", "backup", "log_scan", "log_cleanup", "runbooks", "remedies", "scaling"],
    )


def preflight(module: AnsibleModule) -> dict[str, t.Any]:
    """Read what the stages would read, look at everything, return the envelope."""
    commands = command.Commands(module.run_command)
    ignored = _run.ignores(module.params["ignore"])
    state_dir = state.directory(module.params["state_dir"])
    inventory, broken, secrets = _inventory.read(module.params, commands, state_dir)
    result = _run.run(inventory, broken, module.params["kinds"], ignored, Host(commands, time.time()))
    return conceal(result, secrets)


if __name__ == "__main__":
    main()
