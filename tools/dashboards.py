# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the dashboards of extensions/grafana (R5, R6): `python tools/dashboards.py`. What is shown stands here, what Grafana wants around it too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "extensions/grafana"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
STATUSES = ("ok", "skipped", "unknown", "warning", "critical")
COLOURS = ("green", "text", "purple", "orange", "red")
WIDTH = 24


class Panel(NamedTuple):
    """`kind` is Grafana's, `queries` are (PromQL, legend); `steps` are the values from which on it is orange and red."""

    title: str
    kind: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: tuple[float, ...] = ()
    status: bool = False
    falling: bool = False


def stat(title: str, query: str, unit: str = "short", **more: Any) -> Panel:
    """One figure for each system."""
    return Panel(title, "stat", ((query, "{{system}}"),), unit, **{"width": 6, "height": 5, **more})


def lines(title: str, query: str, legend: str, unit: str = "short", **more: Any) -> Panel:
    """Figures over time."""
    return Panel(title, "timeseries", ((query, legend),), unit, **more)


def table(title: str, query: str, **more: Any) -> Panel:
    """Series with their labels."""
    return Panel(title, "table", ((query, ""),), **{"width": 24, "height": 9, **more})


S = 'system=~"$system"'
H = 'instance=~"$instance"'
LAST = 'playbook=~"daily|fleet_daily"'

EXECUTIVE = (
    stat("State of the systems", f"max by (system) (sre_runbooks_run_status{{{S},{LAST}}})", status=True, width=24),
    stat("Uptime, 30 days (99.9 %)", f"1 - sre_runbooks:api_down_ratio:avg30d{{{S}}}", "percentunit", steps=(0.999, 0.9995), falling=True),
    stat("Left of the budget of errors", f"sre_runbooks:api_error_budget_left_ratio:30d{{{S}}}", "percentunit", steps=(0, 0.25), falling=True),
    stat("Incidents not closed", f"sum(sre_runbooks_incident_unfinished{{{S}}}) or vector(0)", steps=(1, 2)),
    stat("Hosts that did not answer", f"sum by (system) (sre_runbooks_run_missing{{{S},{LAST}}})", steps=(1, 1)),
    lines("Findings that are critical", f'sum by (system) (sre_runbooks_run_outcomes{{{S},status="critical"}})', "{{system}}"),
    lines("Age of the newest good backup", f'max by (system) (sre_runbooks_age_seconds{{{S},stage=~"backup|backup_info"}})', "{{system}}", "s",
          steps=(93600, 180000)),
    lines("What would be lost", f"max by (system, subject) (sre_runbooks_recovery_point_seconds{{{S}}})", "{{system}} {{subject}}", "s"),
    lines("How long a restore takes", f"max by (system, subject) (sre_runbooks_recovery_time_seconds{{{S}}})", "{{system}} {{subject}}", "s"),
)  # fmt: skip

FLEET = (
    stat("Hosts that answered", f"sum by (system) (sre_runbooks_run_hosts_answered{{{S},{LAST}}})"),
    stat("Expected", f"sum by (system) (sre_runbooks_run_hosts_expected{{{S},{LAST}}})"),
    stat("Last daily run", f"time() - max by (system) (sre_runbooks_run_timestamp_seconds{{{S},{LAST}}})", "s", steps=(93600, 108000)),
    stat("Oldest stage", f"time() - min by (system) (sre_runbooks_last_run_timestamp_seconds{{{S}}})", "s", steps=(93600, 108000)),
    table("What is not well", f"sort_desc(sre_runbooks_status{{{S}}} >= 2)", status=True),
    lines("Outcomes by status", f"sum by (status) (sre_runbooks_run_outcomes{{{S}}})", "{{status}}"),
    lines("Time that the runs take", f"max by (playbook) (sre_runbooks_run_duration_seconds{{{S}}})", "{{playbook}}", "s"),
    lines("CPU, the ten busiest", f"topk(10, sre_runbooks:host_cpu_percent{{{S}}})", "{{instance}}", "percent", steps=(80, 95)),
    lines("Memory, the ten fullest", f"topk(10, sre_runbooks:host_memory_percent{{{S}}})", "{{instance}}", "percent", steps=(80, 95)),
    lines("Disk, the ten fullest", f"topk(10, sre_runbooks:host_disk_percent{{{S}}})", "{{instance}} {{mountpoint}}", "percent", steps=(85, 90)),
    lines("Database sizes", f'sre_runbooks_size_bytes{{{S},stage="backup"}}', "{{instance}} {{subject}}", "bytes"),
    table("Incidents that go on", f"time() - sre_runbooks_incident_oldest_timestamp_seconds{{{S}}}", unit="s"),
)  # fmt: skip

HOST = (
    stat("Worst finding", f"max by (system) (sre_runbooks_status{{{H}}})", status=True),
    stat("Critical", f"count(sre_runbooks_status{{{H}}} == 4) or vector(0)", steps=(1, 1)),
    stat("Warnings", f"count(sre_runbooks_status{{{H}}} == 3) or vector(0)", steps=(1, 10)),
    stat("Oldest stage", f"time() - min by (system) (sre_runbooks_last_run_timestamp_seconds{{{H}}})", "s", steps=(93600, 108000)),
    table("All subjects", f"sort_desc(sre_runbooks_status{{{H}}})", status=True),
    lines("CPU", f"sre_runbooks:host_cpu_percent{{{H}}}", "{{instance}}", "percent", steps=(80, 95)),
    lines("Memory", f"sre_runbooks:host_memory_percent{{{H}}}", "{{instance}}", "percent", steps=(80, 95)),
    lines("File systems", f"sre_runbooks:host_disk_percent{{{H}}}", "{{mountpoint}}", "percent", steps=(85, 90)),
    lines("Answers of APIs and databases", f'sre_runbooks_response_seconds{{{H},stage="health"}}', "{{subject}}", "s"),
    lines("Business metrics", f'{{__name__=~"sre_runbooks_(utilization|conflicts|delay_risk|cache_hit_rate|error_rate|queue_depth)",{H}}}',
          "{{__name__}}"),
    lines("Matches in logs", f'sre_runbooks_matches{{{H},stage="log_scan"}}', "{{subject}}"),
    lines("Copies of backups", f"sre_runbooks_copies{{{H}}}", "{{stage}} {{subject}}"),
    lines("Age of copies", f'sre_runbooks_age_seconds{{{H},stage="backup"}}', "{{subject}}", "s", steps=(93600, 180000)),
)  # fmt: skip

OBJECTIVES = (
    stat("Uptime, 30 days (99.9 %)", f"1 - sre_runbooks:api_down_ratio:avg30d{{{S}}}", "percentunit", steps=(0.999, 0.9995), falling=True),
    stat("Left of the budget of uptime", f"sre_runbooks:api_uptime_budget_left_ratio:30d{{{S}}}", "percentunit", steps=(0, 0.25), falling=True),
    stat("Left of the budget of errors", f"sre_runbooks:api_error_budget_left_ratio:30d{{{S}}}", "percentunit", steps=(0, 0.25), falling=True),
    stat("p95 (200 ms)", f"sre_runbooks:api_latency_seconds:p95_rate5m{{{S}}}", "s", steps=(0.15, 0.2)),
    lines("Share of requests that fail (0.1 %)", f"sre_runbooks:api_error_ratio:rate1h{{{S}}}", "{{system}}", "percentunit", steps=(0.001, 0.0144)),
    lines("Pace at which the budget is spent (14.4 is fast)", f"sre_runbooks:api_error_ratio:rate5m{{{S}}} / 0.001", "{{system}}", steps=(6, 14.4)),
    lines("p95", f"sre_runbooks:api_latency_seconds:p95_rate5m{{{S}}}", "{{system}}", "s", steps=(0.15, 0.2)),
    lines("Requests a minute", f"sre_runbooks:api_requests_per_minute:rate5m{{{S}}}", "{{system}}"),
    lines("Answers", f"sre_runbooks:api_up:max{{{S}}}", "{{system}}"),
    lines("Away, by the hour", f"sre_runbooks:api_down_ratio:avg1h{{{S}}}", "{{system}}", "percentunit", steps=(0.001, 0.0144)),
)  # fmt: skip

SYSTEM = ("system", "label_values(sre_runbooks_run_status, system)")
INSTANCE = ("instance", "label_values(sre_runbooks_last_run_timestamp_seconds, instance)")
DASHBOARDS = {
    "executive": ("Runbooks: the systems", EXECUTIVE, SYSTEM),
    "fleet": ("Runbooks: the fleet", FLEET, SYSTEM),
    "host": ("Runbooks: a host", HOST, INSTANCE),
    "objectives": ("Runbooks: objectives and budgets", OBJECTIVES, SYSTEM),
}


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it: no id, a uid of its own, the data source chosen by whoever looks."""
    title, panels, (variable, query) = DASHBOARDS[name]
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    choice = {
        "name": variable, "label": variable.capitalize(), "type": "query", "datasource": DATASOURCE, "definition": query,
        "query": {"query": query, "refId": variable}, "refresh": 2, "sort": 1, "includeAll": True, "multi": True, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    return {
        "uid": f"sre-runbooks-{name}", "title": title, "tags": ["sre.runbooks"], "schemaVersion": 39, "version": 1, "editable": True,
        "timezone": "", "refresh": "1m", "time": {"from": "now-7d", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["sre.runbooks"], "title": "Runbooks", "asDropdown": True, "includeVars": True, "keepTime": True}],
        "templating": {"list": [source, choice]}, "panels": laid_out(panels),
    }  # fmt: skip


def laid_out(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """Put the panels side by side and into rows."""
    found, left, top, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if left + panel.width > WIDTH:
            left, top, tallest = 0, top + tallest, 0
        found.append({**drawn(panel, number), "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height}})
        left, tallest = left + panel.width, max(tallest, panel.height)
    return found


def drawn(panel: Panel, number: int) -> dict[str, Any]:
    """Return a panel without its place."""
    instant = panel.kind != "timeseries"
    targets = [
        {"refId": chr(65 + at), "datasource": DATASOURCE, "expr": query, "legendFormat": legend, "instant": instant, "range": not instant,
         **({"format": "table"} if panel.kind == "table" else {})}
        for at, (query, legend) in enumerate(panel.queries)
    ]  # fmt: skip
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": coloured(panel)}}
    if panel.status:
        words = {str(rank): {"text": word, "color": COLOURS[rank], "index": rank} for rank, word in enumerate(STATUSES)}
        defaults["mappings"] = [{"type": "value", "options": words}]
    if panel.kind == "timeseries" and panel.steps:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    options: dict[str, Any] = {}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "textMode": "value_and_name"}
    return {
        "id": number, "title": panel.title, "type": panel.kind, "datasource": DATASOURCE, "targets": targets, "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }  # fmt: skip


def coloured(panel: Panel) -> list[dict[str, Any]]:
    """Return from which value on a figure has which colour; falling ones are bad where they are small."""
    colours = ("red", "orange", "green") if panel.falling else ("green", "orange", "red")
    values = (None, *panel.steps)
    return [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=False)]


def main() -> int:
    """Write all files; with `--check` only tell whether they are as they would be."""
    stale = []
    for name in DASHBOARDS:
        text = json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"
        path = FOLDER / f"{name}.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not as tools/dashboards.py makes them: {', '.join(stale)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
