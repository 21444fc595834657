#!/usr/bin/python
# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: log_scan
short_description: Count, measure and judge what stands in the logs of a host, in one pass
version_added: 0.1.0
author:
  - sre.runbooks contributors (@sre-runbooks)
description:
  - Reads files with their rotated and compressed kin, units of the journal, and logs of containers once for all rules, and returns
    one outcome for each source, rule and measure.
  - C(grep) looks for the lines that any rule can match; only those are looked at by the regular expressions, so that a scan takes
    about the time of one C(grep). Memory does not grow with the logs; of a line the first 64 KiB count.
  - A finding is data. Many errors are an outcome with status V(critical), not a failed task. A source that cannot be read, or a path
    that matches no file, is V(unknown), never V(ok).
  - All options are read before the first file is opened; a mistake in one of them fails the task.
extends_documentation_fragment:
  - sre.runbooks.common
  - sre.runbooks.attributes
  - sre.runbooks.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: The same lines are read; cursors, shapes and the observations that bounds with C(for) need are not kept.
  diff_mode:
    support: none
    details: Nothing is changed.
options:
  sources:
    description: Where the lines are.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: A name of its own; the outcome's subject is C(source:<name>).
        type: str
        required: true
      path:
        description:
          - A shell pattern of absolute paths; C(**) is any number of folders. Files that were rotated away from those that match belong to them,
            such as C(app.log.1), C(app.log-20261120.gz), C(app.1.log.zst), packed by gzip, xz, bzip2 or zstd.
          - Exactly one of O(sources[].path), O(sources[].unit) and O(sources[].container) must be given.
        type: path
      unit:
        description: A unit of systemd, read from the journal.
        type: str
      container:
        description: A container of podman or docker; both of its output streams are read.
        type: str
      format:
        description:
          - V(json) is a JSON object a line. V(auto) looks at the first lines of each file.
          - A O(sources[].unit) is read as JSON of the journal with V(json), else as text.
        type: str
        choices: [auto, plain, json]
        default: auto
      timestamp:
        description:
          - How a line says its time, where it is not found by itself. V(iso8601), V(apache), V(asctime), V(syslog), V(redis), V(epoch), V(epoch_ms),
            or a format with the directives of strptime such as V(%d.%m.%Y %H:%M:%S).
        type: str
      zone:
        description: The time zone of stamps that name none. V(local) (the host's), V(UTC), or an offset such as V(+02:00).
        type: str
        default: local
      warning:
        description: Bounds of the size in bytes of all files together, such as V(> 1 GiB).
        type: raw
      critical:
        description: As O(sources[].warning).
        type: raw
  rules:
    description: What is counted.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name of its own; the outcome's subject is C(rule:<name>).
        type: str
        required: true
      pattern:
        description:
          - A regular expression of Python, searched for in each line. Classes such as C(\w) and C(\d) and C((?i\)) mean ASCII.
        type: str
        required: true
      field:
        description:
          - Search in this field of JSON lines only, C(a.b) for one inside another. V(level), V(message) and V(timestamp) are found under
            their usual other names too, such as C(severity), C(msg), C(@timestamp). Lines of other formats are not looked at.
        type: str
      exclude:
        description: Lines in which this regular expression is found do not count.
        type: str
      sources:
        description: Names of the sources to look at; all by default.
        type: list
        elements: str
      per:
        description:
          - What the bounds hold for. V(count) is C(matches), V(rate) is C(matches_per_minute) over the time read, V(ratio) is C(ratio_percent),
            the share of all lines of the sources.
        type: str
        choices: [count, rate, ratio]
        default: count
      by:
        description:
          - A named group of the pattern, such as V(source) for C((?P<source>\S+\)). Lines are counted by its value too, and the bounds hold
            for C(top_matches), the count of the most frequent one.
        type: str
      within:
        description:
          - A time such as V(1m). The bounds hold for C(burst_matches), the most lines in any stretch of that length, to a thirtieth of it (a second
            at least); with O(rules[].by), of one value.
        type: str
      warning:
        description: A bound or a list of them, such as V(> 10) or V(> 1 for 10m).
        type: raw
      critical:
        description: As O(rules[].warning).
        type: raw
      remedy:
        description: What to do, shown when a bound is passed.
        type: str
  codes:
    description: An error-code table. Each code is a rule that finds it as a word.
    type: list
    elements: dict
    default: []
    suboptions:
      code:
        description: The code as it stands in the log; the outcome's subject is C(rule:<code>).
        type: str
        required: true
      meaning:
        description: What it means, shown when it was found.
        type: str
      remedy:
        description: What to do, shown when a bound is passed.
        type: str
      sources:
        description: Names of the sources to look at; all by default.
        type: list
        elements: str
      warning:
        description: Bounds of the number of lines.
        type: raw
      critical:
        description: As O(codes[].warning).
        type: raw
  measures:
    description: Figures that stand in lines. Of each come C(count), C(mean), C(p50), C(p95), C(p99) and C(max).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name of its own; the outcome's subject is C(measure:<name>).
        type: str
        required: true
      pattern:
        description: A regular expression with the group C((?P<value>…\)) around the number. Needed without O(measures[].field).
        type: str
      field:
        description: As O(rules[].field); without a pattern the field itself is the number.
        type: str
      exclude:
        description: As O(rules[].exclude).
        type: str
      sources:
        description: Names of the sources to look at; all by default.
        type: list
        elements: str
      unit:
        description:
          - What the number counts, one of V(s), V(ms), V(us), V(m), V(B), V(kB), V(KiB), V(MB), V(MiB), V(GiB), V(%). The metrics are in seconds, bytes or
            percent then, as C(p95_seconds).
        type: str
      warning:
        description: A dictionary from statistics, such as C(p95), to their bounds, such as V(> 2).
        type: dict
      critical:
        description: As O(measures[].warning).
        type: dict
      remedy:
        description: What to do, shown when a bound is passed.
        type: str
  read:
    description:
      - With V(window) the lines of the last O(window) are read, whatever was read before; the start is found by bisection on the time stamps.
        A file without stamps is read as a whole if it was written to in that time.
      - With V(cursor) what is new since the last run is read, through renames, copies before truncation and archives, without losing or
        doubling a line. The first run reads nothing, unless O(from_start).
    type: str
    choices: [window, cursor]
    default: window
  window:
    description: How far back V(window) looks.
    type: str
    default: 24h
  from_start:
    description: Whether the first run with V(cursor) reads all that is there.
    type: bool
    default: false
  samples:
    description: How many of the newest lines of each rule and measure are shown, up to 50. Passwords, tokens and keys are taken out.
    type: int
    default: 3
  shapes:
    description:
      - What to do with lines of a shape never seen before, among those that a rule matches. A shape is what is left without numbers, identifiers and
        quoted texts. The first run only remembers; at most 2,000 shapes of a source are.
      - V(report) shows some, V(warning) makes the source's outcome a V(warning) too.
    type: str
    choices: ["off", report, warning]
    default: report
  redact_emails:
    description: Whether e-mail addresses are taken out of what is shown too.
    type: bool
    default: false
  timeout:
    description: Time limit in seconds. Sources that are not read to their end by then are V(unknown).
    type: float
    default: 600
notes:
  - A pattern that takes more than 2 s over a block of lines (catastrophic backtracking) is ended, and its outcome is V(unknown) and names it. Where
    a module does not run in the main thread of its process, as under Mitogen, it cannot be ended.
  - Percentiles are exact up to 20,000 values and within 0.5 % beyond.
  - At most 4,096 values are counted for C(by); when there are more, the rarer half is forgotten and RV(outcomes[].details) says C(lossy).
seealso:
  - module: sre.runbooks.health_check
  - module: sre.runbooks.log_cleanup
"""

EXAMPLES = r"""
- name: Look at a service's log of the last day
  sre.runbooks.log_scan:
    sources:
      - {name: app, path: /opt/feature11/logs/*.log, warning: "> 1 GiB"}
    rules:
      - name: errors
        pattern: \b(ERROR|CRITICAL|FATAL)\b
        per: ratio
        warning: "> 1"
        critical: "> 5"
        remedy: Look at the samples and the last release.
      - name: failed logins
        pattern: "401 Unauthorized .* from (?P<source>[0-9a-f.:]+)"
        by: source
        within: 5m
        warning: "> 10"
    codes:
      - {code: DB_001, meaning: database connection failed, remedy: Check the database and its connections., critical: "> 0"}
    measures:
      - name: optimization
        pattern: Optimization completed in (?P<value>[\d.]+)s
        unit: s
        warning: {p95: "> 2"}
        critical: {max: "> 5"}
  register: log_scan_result

- name: What sshd and nginx wrote since the last run
  sre.runbooks.log_scan:
    read: cursor
    sources:
      - {name: sshd, unit: ssh.service}
      - {name: access, path: /var/log/nginx/access.log}
    rules:
      - name: brute force
        sources: [sshd]
        pattern: Failed \S+ for .* from (?P<source>\S+) port
        by: source
        critical: "> 20"
      - name: refused requests
        sources: [access]
        pattern: '^(?P<source>\S+) .*" (401|403|429) '
        by: source
        warning: "> 100"
"""

RETURN = r"""
status:
  description: The worst status of all outcomes.
  returned: success
  type: str
  sample: warning
outcomes:
  description: One for each source, rule, code and measure.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: C(source:<name>), C(rule:<name>) or C(measure:<name>).
      type: str
      sample: rule:errors
    stage:
      description: Always V(log_scan).
      type: str
      sample: log_scan
    status:
      description: V(ok), V(unknown), V(warning) or V(critical).
      type: str
      sample: warning
    summary:
      description: One line for a person.
      type: str
      sample: "ratio_percent is 1.8 %, bound > 1; 312 matching lines in 24.0 h, 1.8 % of 17333 lines, the last at 2026-11-20T08:59:01Z"
    metrics:
      description:
        - Of a source C(size_bytes), C(files), C(read_bytes), C(new_shapes). Of a rule C(matches), C(matches_per_minute), and as asked for
          C(ratio_percent) and C(lines), C(groups) and C(top_matches), C(burst_matches). Of a measure its statistics.
      type: dict
      sample: {matches: 312, matches_per_minute: 0.217, ratio_percent: 1.8, lines: 17333}
    pending:
      description: True when a bound with C(for) is passed, but not yet for long enough.
      type: bool
      returned: when so
    details:
      description: Times of the first and last match, samples without secrets, the most frequent values, remedies, new shapes.
      type: dict
      sample: {rule: errors, first: "2026-11-19T09:12:44Z", last: "2026-11-20T08:59:01Z", samples: ["app: 2026-11-20 08:59:01,113 ERROR timeout"]}
"""

import gc

from ansible_collections.sre.runbooks.plugins.module_utils._core import startup

# A short process leaves no garbage worth looking for, and what a scan makes goes by itself.
gc.disable()
startup.compile_once()

import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, runbook, state
from ansible_collections.sre.runbooks.plugins.module_utils._logs import _options, _outcomes, _scan

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = runbook.build(_options.SPEC)
    runbook.run(module, _outcomes.STAGE, lambda: scan(module))


def scan(module: AnsibleModule) -> dict[str, t.Any]:
    """Read the options, scan, return the envelope."""
    options = _options.read(module.params)
    directory = state.directory(module.params["state_dir"])
    return _scan.run(options, command.Commands(module.run_command), directory, module.check_mode)


if __name__ == "__main__":
    main()
