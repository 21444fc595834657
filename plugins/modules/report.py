#!/usr/bin/python

# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This is a virtual module: the work is done by plugins/action/report.py.

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: "Report a run: a table in the terminal, HTML pages, Markdown, JSON, CSV"
version_added: 0.1.0
author: sre.runbooks contributors (@sre-runbooks)
description:
  - Shows a recorded run by system and host, what is bad first, with since when it has been so, and the roll-call.
  - The HTML pages are files without scripts that request nothing. The technical view has every host with its last 30 runs and the
    main metric of whatever is bad; the executive view tells how the systems do. C(index.html) leads to all reports of the folder.
  - Markdown is short enough for a chat or a ticket. The JSON document has a versioned schema. CSV is a table for each section.
  - Files are named C(<playbook>_<run id>.html), C(_executive.html), C(.md), C(.json) and C(_<section>.csv); with C(latest) in place of
    the run they are links to the newest.
options:
  run_id:
    description:
      - The run to report, V(latest) or empty for the one recorded last.
      - Empty in check mode, the run that is under way is reported from what its hosts have registered.
    type: str
    default: ""
  playbook:
    description: Only runs of this kind; empty for any.
    type: str
    default: ""
  stages:
    description: The stages of the run, as for M(sre.runbooks.record); needed in check mode, in which nothing was recorded.
    type: list
    elements: str
    default: []
  history_url:
    description: Where the history is kept, as for M(sre.runbooks.record).
    type: str
    default: sqlite:///~/.local/state/sre-runbooks/history.db
  directory:
    description: Folder on the controller for the files. It is made for its owner alone if it is missing; the files get the mode C(0640).
    type: str
    default: ~/.local/state/sre-runbooks/reports
  formats:
    description: What to make.
    type: list
    elements: str
    choices: [table, json, html, markdown, csv]
    default: [table, json, html, markdown]
  views:
    description: The HTML pages to make, where O(formats) has V(html).
    type: list
    elements: str
    choices: [technical, executive]
    default: [technical, executive]
  width:
    description: Columns of the table; V(0) for the width of the terminal, or 100 where there is none.
    type: int
    default: 0
  fail_on:
    description: After the report is made, fail when the run's status is this bad or worse.
    type: str
    choices: [never, unknown, warning, critical]
    default: never
  period:
    description:
      - The time up to the run's start that KPIs, trends, issues, capacity and what follows from them are about.
      - Empty for that of the run's playbook where it is one of these, and else V(none).
    type: str
    choices: ["", none, daily, weekly, monthly, quarterly]
    default: ""
  kpis:
    description:
      - KPIs beside or in place of those that come with the collection, by C(name); see C(docs/report.md).
      - The lists C(runbooks_kpis) and C(runbooks_kpis_*) of a host of each system count for that system, whatever is given here.
    type: list
    elements: dict
    default: []
  limits:
    description:
      - What sizes may grow to, by globs over C(host), C(stage), C(subject) and C(metric), so that the day they get there can be told.
      - C(runbooks_limits) and C(runbooks_limits_*) of a host of each system count for that system.
    type: list
    elements: dict
    default: []
  costs:
    description: Prices of a month, C(currency) with C(host), C(backup_gib), C(database_gib); what has none costs nothing.
    type: dict
    default: {}
  schedules:
    description: When playbooks run, as C(runbooks_schedules) says it; the report tells what comes in the next period.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
  - sre.runbooks.attributes.controller
attributes:
  check_mode:
    support: full
    details: The table is printed, no file is written.
  diff_mode:
    support: none
requirements:
  - SQLAlchemy >= 2.0 (on the controller)
  - psycopg >= 3.2 (on the controller, for PostgreSQL)
  - pygal >= 3.1 (on the controller, for the charts of the pages; they are left out without it)
notes:
  - Never reports a change, for a report is no state of a host.
seealso:
  - module: sre.runbooks.record
"""

EXAMPLES = r"""
- name: Report the latest daily run
  sre.runbooks.report:
    playbook: daily

- name: Write the page of a certain run into the folder of a web server
  sre.runbooks.report:
    run_id: 20261121T090000Z-3f2a9c
    formats: [html]
    directory: /srv/www/reports

- name: Report a quarter, with a KPI of the site's own, a limit and prices
  sre.runbooks.report:
    period: quarterly
    kpis:
      - name: prediction_accuracy
        unit: percent
        target: "> 90"
        from: {stage: health, subject: http:business, metric: prediction_accuracy_percent}
    limits:
      - {subject: "postgresql:*", metric: size_bytes, limit: 100 GiB}
    costs: {currency: EUR, host: 40, backup_gib: 0.02}
"""

RETURN = r"""
status:
  description: The worst status of all outcomes of the run.
  type: str
  returned: success
  sample: warning
counts:
  description: Number of outcomes by status.
  type: dict
  returned: success
  sample: {ok: 41, skipped: 0, unknown: 0, warning: 1, critical: 0}
run_id:
  description: Identifier of the reported run.
  type: str
  returned: success
  sample: 20261121T090000Z-3f2a9c
expected:
  description: Number of hosts that were expected.
  type: int
  returned: success
  sample: 40
answered:
  description: Number of hosts that answered.
  type: int
  returned: success
  sample: 39
paths:
  description:
    - Path of each written file, empty in check mode; V(html) is the technical view, V(executive) the other one, V(index) leads to all.
    - V(csv) is the table of outcomes, V(csv_<section>) one for each further section.
  type: dict
  returned: success
  sample: {html: /home/ops/.local/state/sre-runbooks/reports/daily_20261121T090000Z-3f2a9c.html}
"""
