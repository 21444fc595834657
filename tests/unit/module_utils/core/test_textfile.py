# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What node_exporter reads, given back by Prometheus' own parser (R6)."""

from __future__ import annotations

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.sre.runbooks.plugins.module_utils._core import textfile
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome

HOSTILE = 'disk:/a "b"\\ c,d={}\n# TYPE x gauge\r\u2028äöü \\n\\"\\'


def parse(text):
    """{metric: {subject or stage: value}}; a series that stands twice fails."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            key = sample.labels.get("subject", sample.labels["stage"])
            assert key not in series, f"{sample.name} of {key} stands twice"
            series[key] = sample.value
    return found


def test_hostile_label_text_comes_back_as_it_was():
    found = parse(
        textfile.render("health", [outcome(HOSTILE, "health", "critical", "x", metrics={"a_bytes": 1.5})], 99.5)
    )
    assert found == {
        "sre_runbooks_status": {HOSTILE: 4},
        "sre_runbooks_a_bytes": {HOSTILE: 1.5},
        "sre_runbooks_last_run_timestamp_seconds": {"health": 99.5},
    }


@pytest.mark.parametrize(
    ("status", "rank"), [("ok", 0), ("skipped", 1), ("unknown", 2), ("warning", 3), ("critical", 4)]
)
def test_the_status_is_its_rank(status, rank):
    assert parse(textfile.render("health", [outcome("a", "health", status, "x")], 0))["sre_runbooks_status"] == {
        "a": rank
    }


def test_figures_keep_their_digits():
    figures = {"big_bytes": 2**53 - 1, "small": 0.1, "yes": True, "tiny": 5e-324}
    found = parse(textfile.render("health", [outcome("a", "health", "ok", "x", metrics=figures)], 0))
    assert {name: found[f"sre_runbooks_{name}"]["a"] for name in figures} == figures


def test_metrics_that_the_user_named_cannot_break_the_file():
    metrics = {"status": 7, "last_run_timestamp_seconds": 8, "p95-ms": 1, "größe": 2, "a b\n{}": 3}
    found = parse(textfile.render("health", [outcome("a", "health", "ok", "x", metrics=metrics)], 5))
    assert found["sre_runbooks_status"] == {"a": 0}
    assert found["sre_runbooks_status_value"] == {"a": 7}
    assert found["sre_runbooks_last_run_timestamp_seconds"] == {"health": 5}
    assert found["sre_runbooks_p95_ms"] == {"a": 1}


def test_a_series_stands_once():
    twice = [outcome("a", "health", "ok", "x", metrics={"a.b": 1, "a-b": 2}), outcome("a", "health", "warning", "x")]
    assert parse(textfile.render("health", twice, 0))["sre_runbooks_status"] == {"a": 3}


def test_the_file_is_for_all_to_read_and_nothing_else_is_left(tmp_path):
    textfile.write(str(tmp_path), "health", [outcome("file:\udcff", "health", "ok", "x")])
    (path,) = tmp_path.iterdir()
    assert path.name == "sre_runbooks_health.prom"
    assert path.stat().st_mode & 0o777 == 0o644
    assert parse(path.read_text(encoding="utf-8"))["sre_runbooks_status"] == {"file:?": 0}


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=f"^textfile_dir: '{tmp_path}/none' is no folder. Name node_exporter's"):
        textfile.write(f"{tmp_path}/none", "health", [])


def test_a_file_that_cannot_be_replaced_is_named(tmp_path):
    (tmp_path / "sre_runbooks_health.prom").mkdir()
    with pytest.raises(RunbookError, match=f"^{tmp_path}/sre_runbooks_health.prom: cannot write: "):
        textfile.write(str(tmp_path), "health", [])


def test_of_two_outcomes_of_a_subject_the_worse_counts():
    twice = [outcome("a", "health", "critical", "x"), outcome("a", "health", "ok", "x")]
    assert parse(textfile.render("health", twice, 0))["sre_runbooks_status"] == {"a": 4}


def test_an_outcome_of_another_stage_cannot_stand_in_the_file_of_that_stage_too():
    text = textfile.render("stabilise", [outcome("host", "verify", "ok", "x", metrics={"seconds": 1})], 0)
    assert 'sre_runbooks_status{stage="stabilise_verify",subject="host"} 0' in text
    assert 'sre_runbooks_seconds{stage="stabilise_verify",subject="host"} 1' in text


def test_names_of_the_controllers_metrics_are_not_taken_by_a_users():
    found = parse(textfile.render("health", [outcome("a", "health", "ok", "x", metrics={"run_status": 3})], 0))
    assert found["sre_runbooks_run_status_value"] == {"a": 3}


def test_promtool_finds_no_fault(tmp_path):
    metrics = {"used_percent": 1, "duration_seconds": 2.5, "size_bytes": 3, "count": 4, "reads_total": 5}
    text = textfile.render("health", [outcome(HOSTILE, "health", "critical", "x", metrics=metrics)], 99.5)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
