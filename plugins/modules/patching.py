#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patching
short_description: Install updates and renew certificates of a host in its maintenance window
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Outside the window nothing is looked at or changed; the outcome is V(skipped) and tells when the next one begins.
  - In the window, what dpkg was killed in is ended, the lists are fetched, a plan is made that removes nothing, the room on the disks is looked
    at, the versions are recorded, archives are fetched and then installed without questions, files that were changed by hand kept as they are.
    Services that still run what was replaced are restarted in their order, certificates renewed and proven by what their servers show, and
    the checks made.
  - Killed at any moment, the next run ends what was begun. The versions before and after are kept in C(patching.json) of the state folder, and
    the command that would go back is told; it is not run by itself.
  - It never boots the host; RV(reboot) says that the role should.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Tells what would be installed and restarted by the lists that are there. Nothing is fetched, installed, restarted or renewed.
  diff_mode:
    support: none
    details: The versions are in the result.
  platform:
    details: Hosts with apt; others are refused.
options:
  windows:
    description:
      - The maintenance windows. A weekly one has C(start) and C(end), times of day by the clocks of C(zone), and C(days) (V(mon) to V(sun);
        when not given, every day). An end that is not after the start is on the next day.
      - A single one has C(begin) and C(end), as in V(2026-12-01T02:00:00+01:00).
      - Needed unless O(now) is set.
    type: list
    elements: dict
    default: []
  now:
    description: Work whatever the windows say.
    type: bool
    default: false
  least_time:
    description: Nothing begins when the window has less time than this left.
    type: str
    default: 15m
  updates:
    description: Which updates are installed; with V(none) only certificates are renewed.
    type: str
    choices: [security, all, none]
    default: security
  packages:
    description: Update only these, and what they need newer. When empty, all.
    type: list
    elements: str
    default: []
  hold:
    description: Patterns of packages that stay as they are.
    type: list
    elements: str
    default: []
  refresh:
    description: Fetch the package lists first.
    type: bool
    default: true
  lock_timeout:
    description: How long another program may have the lock of apt or dpkg.
    type: str
    default: 10m
  timeout:
    description: Time limit of each program; it is ended then, and the next run ends what it left.
    type: str
    default: 1h
  free:
    description: What must be left on each file system.
    type: str
    default: 200MiB
  restart:
    description: Restart services that run what was replaced.
    type: bool
    default: true
  restart_order:
    description: Patterns of units and programs that are restarted first, in this order; the others follow by name.
    type: list
    elements: str
    default: []
  restart_never:
    description: Patterns of units that are not restarted. They make a reboot due.
    type: list
    elements: str
    default:
      - dbus.service
      - dbus-broker.service
      - systemd-logind.service
      - getty@*
      - serial-getty@*
      - user@*
      - gdm*
      - lightdm*
      - sddm*
      - display-manager.service
      - docker.service
      - containerd.service
      - networking.service
      - NetworkManager.service
      - systemd-networkd.service
  programs:
    description: How programs are restarted that are no units, or by something else than systemd.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      match:
        description: A regular expression that finds its command line.
        type: str
        required: true
      command:
        description: What restarts it.
        type: list
        elements: str
        required: true
  reboot:
    description: Whether RV(reboot) may ask for a reboot.
    type: str
    choices: [never, when_needed]
    default: never
  checks:
    description: The checks of M(sre.runbooks.health_check) that are made after; before, too, so that what was sick already is told.
    type: list
    elements: dict
    default: []
  checks_within:
    description: How long a check may be critical after the updates, while services start.
    type: str
    default: 60s
  certbot:
    description: Run C(certbot renew), which renews what is due.
    type: bool
    default: false
  certbot_arguments:
    description: More arguments for certbot.
    type: list
    elements: str
    default: []
  certificates:
    description: Certificates that certbot renews, each proven by what a server shows after.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file with the certificate, as in V(/etc/letsencrypt/live/api.example.org/fullchain.pem).
        type: path
        required: true
      host:
        description: The server that shows it.
        type: str
        required: true
      port:
        description: Its port; by default that of HTTPS, or the usual one of O(certificates[].starttls).
        type: int
      server_name:
        description: The name that the server is asked for; O(certificates[].host) by default.
        type: str
      starttls:
        description: The protocol in the midst of which TLS begins.
        type: str
        choices: [ftp, imap, ldap, lmtp, mysql, nntp, pop3, postgresql, sieve, smtp, xmpp]
      ca_path:
        description: Authorities to trust.
        type: path
      reload:
        description: A unit that is reloaded when the server shows another certificate than the file holds.
        type: str
      command:
        description: As O(certificates[].reload), a command.
        type: list
        elements: str
notes:
  - The role P(sre.runbooks.patching#role) also boots the host and stops a rollout.
seealso:
  - module: sre.runbooks.security_audit
"""

EXAMPLES = r"""
- name: Install security updates on Sunday night, and renew certificates
  sre.runbooks.patching:
    windows:
      - {days: [sun], start: "02:00", end: "04:00", zone: Europe/Madrid}
    hold: [postgresql-*]
    restart_order: [redis-server.service, api.service, nginx.service]
    checks: "{{ runbooks_checks_shop }}"
    certbot: true
    certificates:
      - {path: /etc/letsencrypt/live/api.example.org/fullchain.pem, host: api.example.org, reload: nginx.service}
  register: patching_result
"""

RETURN = r"""
status:
  description: The worst status of all outcomes; V(skipped) outside the windows.
  returned: success
  type: str
  sample: ok
outcomes:
  description: One for the updates, one for each restart, certificate and check, one for a reboot that is due.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: C(patching), C(restart:<unit>), C(certbot), C(certificate:<path>), C(reboot), or the check's.
      type: str
      sample: patching
    stage:
      description: Always V(patching).
      type: str
      sample: patching
    status:
      description: V(critical) when something was not installed, not restarted, not renewed, or is sick after.
      type: str
      sample: ok
    summary:
      description: One line for a person.
      type: str
      sample: "2 packages updated (libssl3, openssl)"
    metrics:
      description: C(updates) and C(security_updates).
      type: dict
      sample: {updates: 2, security_updates: 2}
    details:
      description: C(versions) before and after, C(way_back), the command that would install those from before; C(plan) in check mode; C(next), when the next
        window begins.
      type: dict
      sample: {versions: {openssl: [3.0.15-1, 3.0.16-1]}, way_back: [apt-get, install, --allow-downgrades, openssl=3.0.15-1]}
reboot:
  description: Whether the host should be booted now.
  returned: success
  type: bool
  sample: false
versions:
  description: Packages with their versions before and after.
  returned: success
  type: dict
  sample: {openssl: [3.0.15-1, 3.0.16-1]}
"""

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

startup.compile_once()

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Host
from ansible_collections.sre.runbooks.plugins.module_utils._health._run import conceal
from ansible_collections.sre.runbooks.plugins.module_utils._patching import _run, _settings

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_settings.SPEC)
    runbook.run(module, _run.STAGE, lambda: patch(module), conceal=_settings.CONCEALED)


def patch(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, patch the host, return the envelope."""
    settings, secrets = _settings.read(module.params)
    host = Host(command.Commands(module.run_command), time.time())
    work = _run.Work(settings, host, state.directory(module.params["state_dir"]), module.check_mode)
    return conceal(work.run(), secrets)


if __name__ == "__main__":
    main()
