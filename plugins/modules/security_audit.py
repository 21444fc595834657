#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: security_audit
short_description: Look at certificates, packages, updates, permissions, sshd and ages of keys of a host
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Makes all audits of a host in one call and returns one outcome for each thing looked at. Nothing is changed, updated or renewed.
  - A finding is data, not a failed task. What could not be looked at is V(unknown), never V(ok); so is a list of packages whose
    vulnerabilities no database could be asked for, with the versions in the details.
  - What is looked at is not executed with more rights than its owner has. pip and npm, which run settings and code of a project, run as the
    owner of its folder.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The same is looked at.
  diff_mode:
    support: none
    details: Nothing is changed.
options:
  audits:
    description:
      - "The audits. Each has a C(name), a C(type), C(timeout) (V(120s)), and C(accepted), findings that are no problem here: a list of C(id) (a
        pattern for the C(id) of findings), C(reason), and C(until), a day such as V(2027-01-31) after which it counts again."
      - B(certificates) C(paths) (patterns of files), C(servers) (C(host), C(port), C(server_name), C(starttls), C(ca_path), C(validate_certs), and
        C(path), the file whose certificate must be the one that is served), C(warning) (V(21d)), C(critical) (V(7d)), C(rsa_bits) (V(2048)),
        C(ec_bits) (V(224)),
        C(dry_run) (C(certbot renew --dry-run), which asks the authority's test service), C(certbot) (more arguments for it).
      - B(python_packages) C(environments) (patterns of virtual environments), C(requirements) (patterns of files that pin versions), C(program) (pip-audit),
        C(service) (V(pypi) or V(osv)) and C(url) of a service of OSV, C(vulnerable) (the status of a vulnerability, V(critical)), C(outdated) (also ask
        the index for newer versions, V(false)) and its C(index_url).
      - B(node_packages) C(folders) (patterns of folders with a lock file), C(program) (V(npm)), C(registry), C(omit_dev) (V(true)), C(critical_from)
        (the severity from which a vulnerability is critical, V(high)), C(outdated) (V(false)).
      - B(os_updates) the status of updates for C(security) (V(warning)), of C(other) ones (V(ok)), of a C(reboot) that is due (V(warning)) and of a
        C(restart) that is (V(warning)), for services that still run what was replaced.
      - B(permissions) C(folders) (V([/])), C(exclude), C(one_file_system) (V(true)), C(allowed) (patterns of set-uid and set-gid programs besides those that
        are usual), C(most_files) (V(5000000)).
      - B(ssh) C(users) (V([root])) whose logins C(sshd -T) is asked for, C(address) that they come from, C(root_login) (V(keys) or V(never)), C(config),
        C(program).
      - B(key_ages) C(journal) (V(true)), the keys that M(sre.runbooks.rotating_key) made on this host; C(files) (patterns); C(max_age) (V(90d)); C(status)
        (V(warning)).
    type: list
    elements: dict
    required: true
notes:
  - Without root, other users' files and processes are hidden, and C(sshd -T) cannot read the host's keys.
seealso:
  - module: sre.runbooks.patching
  - module: sre.runbooks.rotating_key
"""

EXAMPLES = r"""
- name: See what is weak on a host
  sre.runbooks.security_audit:
    audits:
      - name: api
        type: certificates
        paths: [/etc/letsencrypt/live/*/fullchain.pem]
        servers:
          - {host: api.example.org, path: /etc/letsencrypt/live/api.example.org/fullchain.pem}
      - name: api
        type: python_packages
        environments: [/opt/api/venv]
        accepted:
          - {id: CVE-2026-1234, reason: the parser is never called, until: "2027-01-31"}
      - {name: web, type: node_packages, folders: [/srv/web], critical_from: critical}
      - {name: os_updates, type: os_updates}
      - {name: permissions, type: permissions, exclude: [/srv/uploads]}
      - {name: ssh, type: ssh, users: [root, deploy]}
      - {name: key_ages, type: key_ages}
  register: security_audit_result
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
      description: Type and name of the audit, and what it looked at, as in C(certificates:api:/etc/letsencrypt/live/x/fullchain.pem).
      type: str
      sample: python_packages:api:/opt/api/venv
    stage:
      description: Always V(security_audit).
      type: str
      sample: security_audit
    status:
      description: V(ok), V(unknown) (could not be looked at), V(warning) or V(critical).
      type: str
      sample: critical
    summary:
      description: The worst findings, and what was looked at.
      type: str
      sample: "jinja2 2.4.1: CVE-2014-1402, fixed in 2.7.2; /opt/api/venv: 31 packages"
    metrics:
      description: C(findings), C(accepted), and what the type counts, such as C(days_remaining), C(vulnerable), C(security_updates).
      type: dict
      sample: {findings: 1, accepted: 0, packages: 31, vulnerable: 1}
    details:
      description: C(findings) with C(id), C(status) and C(text); C(accepted) with C(id) and C(reason); C(versions), C(outdated), C(updates), C(fingerprint).
      type: dict
      sample: {audit: api, type: python_packages, findings: [{id: CVE-2014-1402, status: critical, text: "jinja2 2.4.1: CVE-2014-1402, fixed in 2.7.2"}]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._audit import _run, _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build({"audits": {"type": "list", "elements": "dict", "required": True}})
    runbook.run(module, _run.STAGE, lambda: audit(module), conceal=["audits"])


def audit(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the audits, make them, return the envelope."""
    audits = _settings.read(module.params["audits"])
    host = Host(command.Commands(module.run_command), time.time())
    return _run.run(audits, host, state.directory(module.params["state_dir"]))


if __name__ == "__main__":
    main()
