#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/notify.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: notify
short_description: "Tell people what a run found, or of an incident: e-mail, Slack, PagerDuty, webhooks and whatever Apprise carries"
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Tells each contact what is new or worse since it was told last, once more after O(remind_after), and once when it is over.
    Only what was told as a problem is told as resolved.
  - What a target was told is kept in the history store, without its address. A message that its service did not take is an
    outcome of its own, kept there, and sent by the next run.
  - Messages pass the redaction of log lines, and carry hosts, what, why it matters, the runbook's address, the start, and the
    identifier of the run or incident.
  - Addresses of contacts are shown nowhere; results name the contact and the service.
options:
  contacts:
    description:
      - Whom to tell, a list of mappings with C(name), C(urls) (addresses as Apprise documents them, secret), and what they
        want to hear.
      - C(for) names statuses (V(unknown), V(warning), V(critical)) or severities of incidents (V(P1) to V(P4)), C(kinds) names
        playbooks or V(incident), C(tags) names systems or types of incidents. An empty one lets everything through.
      - C(level) is V(support), V(engineering) or V(management). Where O(escalate) is given, contacts with a level are told of an
        incident only when it is escalated to them.
    type: list
    elements: raw
    default: []
  run_id:
    description: The recorded run to tell of, V(latest) or empty for the one recorded last.
    type: str
    default: ""
  playbook:
    description: Only runs of this kind; empty for any.
    type: str
    default: ""
  stages:
    description:
      - All stages of the playbook, as for M(sre.runbooks.record). A run that its tags left whole tells of problems that are over
        because their stage is gone; needed in check mode, in which nothing was recorded.
    type: list
    elements: str
    default: []
  incident:
    description:
      - Tell of this incident instead of a run. It needs C(id), C(type) and C(severity) (V(P1) to V(P4)), and may have C(system),
        C(hosts), C(summary), C(why), C(link), C(started), C(state) (V(open), V(stable), V(closed)), C(acknowledged) and C(metadata).
    type: dict
    default: {}
  escalate:
    description:
      - Contacts to tell of O(incident) whatever they filter, by name, or as mappings with C(name) (or C(contact)) and C(level); a
        mapping with only a C(level) means all contacts of that level.
      - Not given, nothing is escalated, and contacts with a level are told as all others.
    type: list
    elements: raw
  systems:
    description: By name of a system a mapping with C(why) it matters and the C(link) to its runbook.
    type: dict
    default: {}
  report_url:
    description: Address at which the reports' folder is served; messages of a run then point to its page.
    type: str
    default: ""
  remind_after:
    description: Tell again of what goes on after this time; V(0s) for never. An acknowledged incident is not told again.
    type: str
    default: 7d
  timeout:
    description: How long to wait for a service to be reached, and again for each part of its answer. An URL may name its own (C(cto), C(rto)).
    type: str
    default: 10s
  time_limit:
    description: How long everything may take together; what is not sent by then is sent by the next run.
    type: str
    default: 60s
  attempts:
    description: How often a message is tried in one run, with growing pauses. A login that is refused is not tried again.
    type: int
    default: 3
  status_page:
    description:
      - Keep a status page of the systems and incidents, without names of hosts or messages, in the folder C(directory) (as
        C(status.json) and C(index.html)), or bring its JSON by PUT to C(url), which is secret.
      - C(title) is its heading, C(names) gives systems the names to be shown, C(systems) lists those to be shown.
    type: dict
    default: {}
  errors:
    description: Whether input that cannot be used, or a missing library, fails the task or is a critical outcome.
    type: str
    choices: [fail, outcome]
    default: fail
  history_url:
    description: Where the history is kept, as for M(sre.runbooks.record).
    type: str
    default: sqlite:///~/.local/state/sre-runbooks/history.db
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
  - sre.runbooks.attributes.controller
attributes:
  check_mode:
    support: full
    details: Nothing is sent or written; the outcomes say what would be.
  diff_mode:
    support: none
requirements:
  - apprise >= 1.13 (on the controller)
  - SQLAlchemy >= 2.0 (on the controller)
  - psycopg >= 3.2 (on the controller, for PostgreSQL)
notes:
  - Never reports a change, for a message is no state of a host.
  - A message is sent at least once. An answer that comes too late is taken for none.
seealso:
  - module: sre.runbooks.record
  - module: sre.runbooks.report
"""

EXAMPLES = r"""
- name: Tell of the latest daily run
  sre.runbooks.notify:
    playbook: daily
    contacts:
      - name: operations
        urls: ["{{ vault_slack_url }}", "{{ vault_mail_url }}"]
        for: [warning, critical]
      - name: on call
        urls: ["{{ vault_pagerduty_url }}"]
        for: [critical]

- name: Tell the next level of an incident
  sre.runbooks.notify:
    contacts: "{{ runbooks_contacts }}"
    incident: {id: INC-20261121-090000-3f2a, type: unresponsive, severity: P1, system: F11, hosts: [f11-app], summary: no answer for 5 minutes}
    escalate: [{level: engineering}]
"""

RETURN = r"""
status:
  description: The worst status of the outcomes.
  type: str
  returned: success
  sample: ok
outcomes:
  description:
    - What became of the messages of each contact (stage C(notify), subject is the contact's name), and of the status page.
    - V(warning) when a message did not get through, V(critical) when a contact cannot be told at all.
  type: list
  elements: dict
  returned: success
  sample: [{subject: operations, stage: notify, status: ok, summary: nothing new to tell, metrics: {messages_sent: 0, messages_failed: 0}, details: {}}]
told:
  description: Who was told of what, and when.
  type: list
  elements: dict
  returned: success
  sample:
    - {contact: on call, level: engineering, target: pagerduty, event: trigger, key: "daily:F11", title: "[CRITICAL] F11 daily",
       time: "2026-11-21T09:00:00Z", status: ok, reason: ""}
missed:
  description: Messages that did not get through, as in RV(told), with the reason.
  type: list
  elements: dict
  returned: success
  sample: []
run:
  description: Identifier of the run or incident.
  type: str
  returned: success
  sample: 20261121T090000Z-3f2a9c
"""
