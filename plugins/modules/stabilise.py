#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stabilise
short_description: Take guarded actions on a sick host, one after the other, until its checks say that it is well
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Looks at O(verify) first; a host that is well is left alone. Otherwise the O(actions) are taken in their order, each only when its
    guard allows it and its limit is not used up, and after each the checks are made until they are good or its time to help is over.
    The first action that helps is the last one.
  - No action is taken twice for the same O(incident), whoever calls again; one that did not help can be taken back. A host that is still
    sick after all of them is an outcome with status V(critical) of the stage C(verify), and no failed task.
  - A run that was killed is known to the next from a journal in O(state_dir), which takes up the action that was begun,
    without asking its guard again; within a day also a run of another incident that would do the same thing.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The checks and guards are made. The outcomes say which actions would be taken, each for the case that none before it helps.
  diff_mode:
    support: full
    details: The actions taken, or that would be.
options:
  incident:
    description: The incident that this belongs to; letters, digits, dots, dashes and underscores.
    type: str
    required: true
  verify:
    description:
      - Checks as in M(sre.runbooks.health_check). The host is well when none of them is V(critical) or V(unknown).
      - The bounds hold at once, without their C(for).
    type: list
    elements: dict
    required: true
  due:
    description:
      - Checks of which one that is V(critical) or V(unknown) is a reason to act on a host that is well, such as a service that runs for too long.
      - An action that was taken and has not failed settles it.
    type: list
    elements: dict
    default: []
  actions:
    description:
      - What can be done, the mildest first. Each has a C(name), an C(action), a C(guard), and may have a C(limit), C(wait) (V(30s), how long
        the host may take to become well after it), C(undo) (V(false), take it back when it did not help).
      - C(guard) holds checks under C(healthy), none of which may be V(critical) or V(unknown), and under C(sick), one of which must be; or
        C(always), a text that says why it can do no harm. An action without a guard is refused.
      - C(limit) is how often the same thing may be done on this host whatever the incident, such as V(3/h).
      - C(service_restart) has C(units) (V(services)), C(stop_within) (V(20s), then they are killed), C(start_within) (V(60s)). V(3/h).
      - C(cache_flush) has C(redis) (connection, C(database)) with C(patterns) or C(everything), or C(http). V(2/h).
      - C(queue_clear) has C(redis) with C(key) and C(keep) (V(24h), what was waiting is kept under another name for so long), or C(http). V(1/h).
        Can be taken back.
      - C(release_rollback) has C(link), a symbolic link to a folder of a release, or C(package); C(to) (V(previous)); C(units) to restart
        after it. V(1/h). Can be taken back.
      - C(database_restore) has C(restore) (options of M(sre.runbooks.restore)) and C(units), which are stopped meanwhile. V(1/d).
      - C(command) has C(argv), C(undo_argv), C(run_as), C(timeout) (V(60s)). V(3/h).
      - C(http) has C(url), C(method) (V(POST)), C(headers), C(body), C(status), C(validate_certs), C(ca_path), C(timeout) (V(30s)).
      - C(maintenance_mode) has C(switch) and C(alertmanager) (as in M(sre.runbooks.maintenance)), C(lease) (V(30m), it goes off by itself then),
        C(owner). V(2/h). Can be taken back.
    type: list
    elements: dict
    required: true
  services:
    description: The units of the system in the order in which they start, for actions that name none.
    type: list
    elements: str
    default: []
  timeout:
    description: Time for everything. When it is over no further action is begun.
    type: str
    default: 10m
seealso:
  - module: sre.runbooks.health_check
  - module: sre.runbooks.diagnostics
  - module: sre.runbooks.restore
  - module: sre.runbooks.maintenance
"""

EXAMPLES = r"""
- name: Get the API to answer again
  sre.runbooks.stabilise:
    incident: INC-20261121-101500-3fa2
    services: [feature11.service]
    verify:
      - {name: api, type: http, url: "http://127.0.0.1:8000/health", expect: {status: 200}}
    actions:
      - name: flush the cache
        action: cache_flush
        redis: {database: 1}
        patterns: ["cache:*"]
        guard:
          sick: [{name: hits, type: redis, metrics: {hit_percent: {critical: "< 30"}}}]
      - name: restart
        action: service_restart
        guard:
          healthy: [{name: disk, type: disk, critical: "> 95"}]
        wait: 20s
  register: stabilise_result
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: always, unless an option is wrong
  type: str
  sample: warning
healthy:
  description: Whether the checks of O(verify) are good at the end.
  returned: always, unless an option is wrong
  type: bool
  sample: true
helped:
  description: The name of the action after which they were; empty when there is none.
  returned: always, unless an option is wrong
  type: str
  sample: restart
outcomes:
  description: One for each action that was looked at, and one of the stage C(verify).
  returned: always, unless an option is wrong
  type: list
  elements: dict
  contains:
    subject:
      description: Kind and name of the action; C(host) for the last one.
      type: str
      sample: service_restart:restart
    stage:
      description: V(stabilise) or V(verify).
      type: str
      sample: stabilise
    status:
      description:
        - V(ok) (taken), V(skipped) (its guard refused, or it was taken before), V(warning) (it did not help, or its limit is used up), V(critical) (failed, or
          the host is still sick).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: restarted feature11.service (killed, for it did not stop)
    metrics:
      description: C(duration_seconds).
      type: dict
      sample: {duration_seconds: 21.3}
    details:
      description: The kind of C(action), and C(at), when it was begun.
      type: dict
      sample: {action: service_restart, at: "2026-11-21T10:15:04Z"}
msg:
  description: Why nothing could be done.
  returned: failure
  type: str
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run as _health
from ansible_collections.sre.runbooks.plugins.module_utils._stabilise import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: stabilise(module), conceal=["actions", "verify", "due"])


def stabilise(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, look, act, return the envelope."""
    settings, secrets = _settings.read(module.params)
    hide = module.no_log_values.update
    commands = command.Commands(module.run_command)
    result = _run.run(settings, commands, state.directory(module.params["state_dir"]), module.check_mode, hide)
    return _health.conceal(result, secrets)


if __name__ == "__main__":
    main()
