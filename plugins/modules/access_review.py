#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: access_review
short_description: Users and roles of services as the inventory says, through their admin APIs
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Lists the users of each service, compares them with the inventory, creates, enables and disables users and changes roles, lists them again, and
    tells what is not as it should be. Nobody is ever deleted.
  - Users that nobody has written down are told, or disabled. So are more users with all rights than there should be, roles that are not allowed,
    accounts without a login for a long time, and accounts with many failed logins.
  - When more would be changed than the limits allow, nothing is, and the plan is told. The account that this acts as and the last user with all
    rights are never disabled and never lose their role.
  - A list that is not whole, such as one with a page that fails, changes nothing. What the service says of a change is not believed; it must list it.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The users are listed and compared; what would be changed is told as a warning.
  diff_mode:
    support: full
options:
  services:
    description:
      - The services. Each has a C(name), C(url), C(headers) (secret), C(validate_certs), C(ca_path), C(timeout) (V(30s)).
      - "C(list): C(path), where the list stands (C(items)) and where the address of the next page stands (C(next)) in the answer; in each user
        C(id), C(user) (V(username)), C(role), C(disabled) (V(!active) where it is said the other way round), C(last_login) (V(last_login_at)), C(created)."
      - "C(create), C(role), C(disable), C(enable): C(path), C(method), C(body), C(status), with C({name}), C({role}), C({id}), and of a user's
        C(attributes) each by its name. What is not described is only told."
      - "C(users): C(name), C(role), C(state) (V(present), V(disabled)), C(attributes). C(unlisted) is V(report) or V(disable), C(ignore) names users
        that are passed over."
      - "C(roles): those that are allowed. C(admin_role) (V(ADMIN)); C(admins), how many may have it. C(acts_as), the account whose token is in C(headers),
        empty when it is none of the users. C(idle) (V(90d)). C(limits): C(users) (V(10)) changes, C(percent) (V(50)) of the accounts when it is
        more than one."
      - "C(failures): C(rules), names of rules of M(sre.runbooks.log_scan) that count by account; C(warning) (V(10)), C(critical) (V(100)) of one account."
    type: list
    elements: dict
    required: true
  log_outcomes:
    description: The outcomes of M(sre.runbooks.log_scan), for C(failures).
    type: list
    elements: dict
    default: []
notes:
  - The role P(sre.runbooks.access_review#role) calls it.
seealso:
  - module: sre.runbooks.log_scan
"""

EXAMPLES = r"""
- name: Review who may do what
  sre.runbooks.access_review:
    services:
      - name: feature11
        url: http://127.0.0.1:8000
        headers: {Authorization: "Bearer {{ vault_admin_token }}"}
        acts_as: ""
        list: {path: /auth/users}
        create: {path: /auth/users, body: {username: "{name}", email: "{email}", role: "{role}"}}
        role: {path: "/auth/users/{id}/role", body: {role: "{role}"}}
        disable: {path: "/auth/users/{id}/disable"}
        roles: [ADMIN, PROJECT_MANAGER, ANALYST, VIEWER]
        admins: 2
        users:
          - {name: ana, role: ADMIN, attributes: {email: ana@example.org}}
          - {name: bert, state: disabled}
  check_mode: true
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: warning
outcomes:
  description: One for each service, and one for each user of whom there is something to tell, at most 100 for a service.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: C(access:<service>), C(access:<service>:<user>).
      type: str
      sample: access:feature11:bert
    stage:
      description: Always V(access_review).
      type: str
      sample: access_review
    status:
      description: V(ok), V(unknown) (the users cannot be looked at), V(warning) (drift), V(critical) (refused, or a change failed).
      type: str
      sample: warning
    summary:
      description: One line for a person.
      type: str
      sample: is not in the inventory, and is ADMIN
    metrics:
      description: Of a service C(users), C(admins), C(drift) (changes that were needed), C(login_failures).
      type: dict
      sample: {users: 12, admins: 2, drift: 0}
    details:
      description: None.
      type: dict
      sample: {}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._access import _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, "access_review", lambda: review(module), conceal=["services", "log_outcomes"])


def review(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, review the services, return the envelope."""
    services, secrets = _settings.read(module.params["services"])
    module.no_log_values.update(secrets)
    return _run.run(services, module.params["log_outcomes"], module.check_mode)


if __name__ == "__main__":
    main()
