#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/incident.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: incident
short_description: "Keep the record of an incident: from the alarm to the post-mortem"
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Writes what happened in an incident to the history store, to which it only adds, and tells what is due, such as who is to be told.
  - Of one type and one system at most one incident is not closed. Two alarms for one cause, even at the same moment, are one
    incident, and a run that was killed is resumed by the next one.
  - While the history store cannot be used (locked, down), the incident goes on. What was to be written lies in a spool that the
    next run takes in.
  - It runs once for all hosts of the play and connects to none of them.
options:
  state:
    description:
      - V(opened) opens an incident for each system among the hosts, or resumes the one that is there. A stable one, or one that was closed
        less than O(reopen_within) ago, is reopened.
      - V(recorded) takes in what the hosts registered for O(stages), and O(evidence), and measures the severity.
      - V(note) adds O(text).
      - V(acknowledged) says that O(actor) answers for it; nothing is escalated further until its severity gets worse.
      - V(escalated) records who was O(told); without O(told), it goes to the next level now.
      - V(stable) takes in O(stages) as V(recorded) does, and makes the incident stable when they show that every host of it is well.
        What M(sre.runbooks.stabilise) verified at its end counts where there is no C(verify_result).
      - V(closed) closes a stable incident.
      - V(watch) looks at all incidents that are not closed, or at those of O(incident_id) - escalations that are due, verified
        stable ones that were quiet for O(quiet) and are closed.
    type: str
    required: true
    choices: [opened, recorded, note, acknowledged, escalated, stable, closed, watch]
  incident_id:
    description: "The incidents that it is about, needed for every state but V(opened) and V(watch): RV(ignore:ids) of V(opened), or one from a person."
    type: list
    elements: str
    default: []
  type:
    description: Type of the incident, the name of its runbook. Needed for V(opened).
    type: str
    default: ""
  title:
    description: What happened, in one line; the type where it is empty.
    type: str
    default: ""
  link:
    description: Where people find the runbook.
    type: str
    default: ""
  systems:
    description: Only these systems (C(runbooks_system)) among the hosts; all of them where it is empty.
    type: list
    elements: str
    default: []
  hosts:
    description: Only these hosts of the play; all of them where it is empty.
    type: list
    elements: str
    default: []
  source:
    description: What raised the alarm, such as V(alertmanager). Empty for a person.
    type: str
    default: ""
  started:
    description:
      - When it began, ISO 8601, as an alert's C(startsAt).
      - Where it is empty, the earliest C(since) of what was found bad by the first stage recorded.
    type: str
    default: ""
  actor:
    description: Who does this. Empty for C(awx_user_name), or else the user who runs C(ansible-playbook).
    type: str
    default: ""
  text:
    description: What there is to say, one or more lines. Needed for V(note). Secrets that can be told by their shape are taken out.
    type: str
    default: ""
  severity:
    description: "Severity set by a person: evidence of worse still raises it. Empty to measure it."
    type: str
    choices: ["", P1, P2, P3, P4]
    default: ""
  severity_rules:
    description:
      - What in the evidence means what, see C(docs/incidents.md).
      - "C(main), C(corruption), C(breach): globs over subjects, the first for what makes an outage when it is critical everywhere."
      - "C(rates): globs over names of metrics that are failure rates. C(bounds): C({P1: 50, P2: 20, P3: 10}), percent."
      - "C(at_least): a severity below which it never is."
    type: dict
    default: {}
  stages:
    description:
      - Stages whose results are taken in, V(detect) for the registered variable C(detect_result) or C(incident_detect_result).
      - V(verify) for the state V(stable).
    type: list
    elements: str
    default: []
  stable_at:
    description: The worst status of a check with which a host still counts as well.
    type: str
    choices: [ok, warning]
    default: ok
  evidence:
    description:
      - "Files on this controller that show what was found, such as bundles: C({host, path, sha256, text}) each."
      - Bundles that the stages of O(stages) fetched are taken in by themselves, see M(sre.runbooks.diagnostics).
      - Their checksums are kept. Where C(sha256) is given and the file has another one, that is recorded as a finding.
    type: list
    elements: dict
    default: []
  told:
    description:
      - "What became of telling people: C({contact, level, status, summary}) each, with the status V(ok) for who was told."
      - "Lists that M(sre.runbooks.notify) returns can be given as they are: C({{ notified.told + notified.missed }})."
    type: list
    elements: dict
    default: []
  contacts:
    description: Who can be told, as C(runbooks_contacts). No address of them is shown or kept.
    type: list
    elements: dict
    default: []
  escalation:
    description:
      - "C(response): time until somebody must have acknowledged, by severity. C(levels): list of C({level, after, severities}); C(after)
        counts from the level before."
      - Empty for C(docs/incidents.md)'s, those of many operations guides.
    type: dict
    default: {}
  reopen_within:
    description: An alarm within this time after an incident was closed reopens it.
    type: str
    default: 1h
  quiet:
    description: A verified incident that was stable for this time is closed by V(watch).
    type: str
    default: 30m
  targets:
    description: "Targets of the times, C({detect: 5m, resolve: 15m})."
    type: dict
    default: {}
  force:
    description: Make it stable without proof, or close what is not stable; O(text) has to say why.
    type: bool
    default: false
  formats:
    description: What is made. V(table) is printed by V(watch). Drafts of the post-mortem are written when an incident is stable or closed, or was to be.
    type: list
    elements: str
    choices: [table, markdown, html]
    default: [table, markdown, html]
  directory:
    description: Folder on the controller for the drafts. It is made for its owner alone if it is missing; the files get the mode C(0640).
    type: str
    default: ~/.local/state/sre-runbooks/incidents
  width:
    description: Columns of the table; V(0) for the width of the terminal, or 100 where there is none.
    type: int
    default: 0
  history_url:
    description: Where the history is kept, as for M(sre.runbooks.record).
    type: str
    default: sqlite:///~/.local/state/sre-runbooks/history.db
  spool:
    description: Folder on the controller for what cannot be written to the history. Empty for the one of the history's file, or C(~/.local/state/sre-runbooks).
    type: str
    default: ""
  textfile_dir:
    description:
      - Folder of the textfile collector of the controller's node_exporter, for how many incidents are not closed, and since when. Empty for
        none. Where it cannot be written to, that is an outcome.
    type: str
    default: ""
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
  - sre.runbooks.attributes.controller
attributes:
  check_mode:
    support: full
    details: Nothing is written. An incident that would be opened has an id that nobody else will see.
  diff_mode:
    support: none
requirements:
  - SQLAlchemy >= 2.0 (on the controller)
  - psycopg >= 3.2 (on the controller, for PostgreSQL)
  - psutil >= 5.9 (on the controller)
notes:
  - "The play has to have the same hosts as the play of the stages: under C(--limit), a play on the implicit localhost is dropped."
  - Never reports a change, for the record of an incident is no state of a host.
seealso:
  - module: sre.runbooks.record
  - module: sre.runbooks.report
"""

EXAMPLES = r"""
- name: Open an incident, or resume it
  sre.runbooks.incident:
    state: opened
    type: unresponsive
    started: "{{ alert_starts_at | default('') }}"
  register: opened
  run_once: true  # so that every host of the play knows what is registered

- name: Record what was found, and what its severity is
  sre.runbooks.incident:
    state: recorded
    incident_id: "{{ opened.ids }}"
    stages: [detect, diagnostics]
    contacts: "{{ runbooks_contacts }}"
  register: recorded
  run_once: true

- name: Say that somebody is at it
  sre.runbooks.incident:
    state: acknowledged
    incident_id: [INC-20261121-090000-3f2a]
    actor: Kim

- name: Show all incidents, escalate what is due, close what has been quiet
  sre.runbooks.incident:
    state: watch
    contacts: "{{ runbooks_contacts }}"
"""

RETURN = r"""
status:
  description: The worst status of the outcomes.
  type: str
  returned: success
  sample: critical
outcomes:
  description: One of the stage V(incident) for each incident, and one for the store where it could not be used.
  type: list
  elements: dict
  returned: success
ids:
  description: The ids of RV(incidents), for O(incident_id).
  type: list
  elements: str
  returned: success
  sample: [INC-20261121-090000-3f2a]
incident:
  description:
    - "The worst of RV(incidents): C(id), C(type), C(system), C(hosts), C(title), C(link), C(summary), C(severity), C(why), C(state), C(verified), C(level),
      C(acknowledged), C(progress), C(to_tell), C(next_level), C(next_at), C(timings), C(paths), C(resumed), C(reopened)."
    - "C(to_tell) is a list of C({contact, level}) - who is due and has not been told, C(untried) those of them with whom it was never tried.
      C(progress) says by host and stage how far each host came."
    - "C(timings) are C(started), C(detected), C(acknowledged), C(stable), C(closed), and C(detect_seconds), C(acknowledge_seconds),
      C(resolve_seconds) with C(detect_within) and C(resolve_within) the targets."
    - Empty when there is none.
  type: dict
  returned: success
incidents:
  description: All incidents that it was about, the worst first.
  type: list
  elements: dict
  returned: success
to_tell:
  description: "Who is due of all of them: C({incident, contact, level}) each."
  type: list
  elements: dict
  returned: success
stored:
  description: Where it was written - V(store), V(spool), or V(nowhere) (check mode, or neither could be written).
  type: str
  returned: success
  sample: store
"""
