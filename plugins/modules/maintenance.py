#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Maintenance mode as a lease that ends by itself, with alerts silenced for as long
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Switches maintenance mode on for a time, and it goes off at the end of that time though the play, the controller and the connection are gone.
    What ends it is a unit of systemd (root, where systemd runs the host; it survives a boot), or a process of its own, from an archive in
    O(state_dir) that needs nothing of Ansible. It tries until the mode is off.
  - The end is counted by a clock that nobody can set; after a boot by the wall clock, and never longer than the lease.
  - One name has one owner at a time. Another one is refused, and told who holds it until when.
  - What was in maintenance before is left as it was, on O(state=off) and at the end of the lease.
  - Alerts are silenced before the mode goes on. An Alertmanager that does not answer is an outcome with status V(warning).
  - What a switch needs to go off is kept in O(state_dir), readable for its user alone, until the lease is over.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Looks, and says what would be switched.
  diff_mode:
    support: full
    details: What was switched, or would be.
options:
  state:
    description:
      - V(on) begins a lease. Called again by its owner it renews it when less than nine tenths of O(lease) are left, and switches the mode on again
        when somebody has switched it off. It is never shortened.
      - V(off) ends it. Without a lease nothing is switched.
      - V(status) only looks.
    type: str
    required: true
    choices: ["on", "off", status]
  name:
    description: Name of the lease; letters, digits, dots, dashes and underscores, at most 64.
    type: str
    default: maintenance
  owner:
    description: Who does this. Required unless O(state=status).
    type: str
    default: ""
  reason:
    description: Why, for whoever finds it. It is the comment of the silence too.
    type: str
    default: ""
  lease:
    description: How long at most, V(1s) to V(7d).
    type: str
    default: 1h
  switch:
    description:
      - What is switched. C(kind) and the options of that kind. Required for O(state=on) unless there are only alerts to silence.
      - C(http), an admin API, has C(url), C(headers), C(validate_certs), C(ca_path), C(on_method) (V(POST)), C(on_body), C(off_method) (V(DELETE)),
        C(off_body), C(off_url), C(look_url), C(look_at) (V(maintenance), the place in the answer to a GET; empty when nobody can ask), C(look_on)
        (V(true)), C(status), C(timeout) (V(10s)).
      - C(file), a flag file that the web server or the application looks at, has C(path), C(content), C(mode) (V(0644)).
      - C(command) has C(on_argv), C(off_argv), C(look_argv) (status 0 means on, 1 off), C(timeout) (V(60s)). Programs are named by their whole paths.
    type: dict
  alertmanager:
    description:
      - Where alerts are silenced for the time of the lease, by the API v2. C(url), C(headers), C(validate_certs), C(ca_path), C(timeout) (V(10s)), and
        C(matchers), each with C(name), C(value), C(regex) (V(false)), C(equal) (V(true)).
    type: dict
  force:
    description: Take a lease over from another owner, or end it.
    type: bool
    default: false
seealso:
  - module: sre.runbooks.stabilise
"""

EXAMPLES = r"""
- name: The API is in maintenance for an hour at most
  sre.runbooks.maintenance:
    state: "on"
    owner: "{{ runbooks_actor }}"
    reason: Migration to 2.4
    lease: 1h
    switch:
      kind: http
      url: http://127.0.0.1:8000/admin/maintenance-mode
      headers: {Authorization: "Bearer {{ vault_admin_token }}"}
    alertmanager:
      url: http://alertmanager.example.org:9093
      matchers:
        - {name: instance, value: "{{ inventory_hostname }}:.*", regex: true}

- name: It is open again
  sre.runbooks.maintenance:
    state: "off"
    owner: "{{ runbooks_actor }}"
    switch: {kind: file, path: /srv/shop/maintenance}
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: always, unless an option is wrong
  type: str
  sample: ok
active:
  description: Whether the mode is on; null where nobody can know, or nothing is switched.
  returned: success
  type: bool
  sample: true
ours:
  description: Whether the lease switches it off at its end.
  returned: success
  type: bool
  sample: true
owner:
  description: Who holds the lease; empty when there is none.
  returned: success
  type: str
  sample: operations
until:
  description: When the lease ends, in UTC; empty when there is none.
  returned: success
  type: str
  sample: "2026-11-21T11:15:00Z"
left_seconds:
  description: How long it lasts yet.
  returned: success
  type: float
  sample: 3600.0
outcomes:
  description: One for the mode, one for the silence.
  returned: always, unless an option is wrong
  type: list
  elements: dict
  contains:
    subject:
      description: C(maintenance:) or C(silence:) and the name.
      type: str
      sample: maintenance:maintenance
    stage:
      description: V(maintenance).
      type: str
      sample: maintenance
    status:
      description: V(ok); V(warning) (was on before us, the lease was over before the end, Alertmanager is away); V(critical) (over and still on).
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: on until 2026-11-21T11:15:00Z (60.0 min) for operations
    metrics:
      description: C(on) (0 or 1), C(left_seconds).
      type: dict
      sample: {"on": 1.0, "left_seconds": 3600.0}
    details:
      description: C(until) and C(owner).
      type: dict
      sample: {until: "2026-11-21T11:15:00Z", owner: operations}
msg:
  description: Why nothing could be done.
  returned: failure
  type: str
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._maintenance import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SHORTEST_SECRET = 8


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: maintenance(module), conceal=["switch", "alertmanager"])


def maintenance(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, switch, return the envelope."""
    settings, secrets = _settings.read(module.params)
    commands = command.Commands(module.run_command)
    try:
        result = _run.run(settings, commands, state.directory(module.params["state_dir"]), module.check_mode)
    except RunbookError as error:
        raise RunbookError(blotted(str(error), secrets)) from error
    for each in result["outcomes"]:
        each["summary"] = blotted(each["summary"], secrets)
    result["diff"]["after"] = blotted(result["diff"]["after"], secrets)
    return result


def blotted(text: str, secrets: t.Collection[str]) -> str:
    """The text without secrets. Subjects and figures stay: a body such as `maintenance` would make another thing of them."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "********")
    return text


if __name__ == "__main__":
    main()
