# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's model, table, page and files (R1, R4, R5): what is bad first, nothing from a host believed."""

from __future__ import annotations

import html.parser
import json
import stat
from pathlib import Path

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import output, page, page_figures, table
from ansible_collections.sre.runbooks.plugins.plugin_utils.history import History
from ansible_collections.sre.runbooks.plugins.plugin_utils.model import from_history, from_run
from ansible_collections.sre.runbooks.plugins.plugin_utils.rollcall import HostAnswer, Run

HOSTILE = "<script>alert(1)</script>'\"><img src=http://evil.example/x onerror=alert(2)>{{ 7 * 7 }}\x1b[2J\u202e"


def make_run(*hosts: HostAnswer, day: int = 21) -> Run:
    started = f"2026-11-{day:02d}T09:00:00Z"
    return Run(
        f"202611{day:02d}T090000Z-abcdef",
        "daily",
        started,
        f"2026-11-{day:02d}T09:01:23Z",
        False,
        "0.1.0",
        ["health", "backup"],
        list(hosts),
    )


def fleet(day: int = 21, text: str = "used 97 %") -> Run:
    return make_run(
        HostAnswer(
            "calm", "GHO", True, [outcome("cpu", "health", "ok", "fine"), outcome("db", "backup", "ok", "fine")]
        ),
        HostAnswer(
            "sick",
            "F11",
            True,
            [
                outcome("cpu", "health", "ok", "fine"),
                outcome("memory", "health", "warning", "full", metrics={"memory_percent": 80 + day}),
                outcome(
                    f"disk:{text}",
                    "health",
                    "critical",
                    text,
                    metrics={"used_percent": 70 + day},
                    details={"remedy": text},
                ),
            ],
        ),
        HostAnswer("dead", "F11", False, [outcome("host", "roll_call", "critical", "unreachable: refused")]),
        HostAnswer("queer", "ABS", True, [outcome("api", "health", "unknown", "no answer understood")]),
        day=day,
    )


@pytest.fixture
def recorded(tmp_path):
    """The report of the third of three days; on the first two, the host calm had a bad check."""
    history = History(f"sqlite:///{tmp_path}/history.db")
    for day in (19, 20):
        run = fleet(day)
        run.hosts[0].outcomes.append(outcome("redis", "health", "critical", "no answer"))
        history.record(run)
    run = fleet(21)
    run.hosts[0].outcomes.append(outcome("redis", "health", "ok", "pong"))
    history.record(run)
    return from_history(history, history.find())


def test_systems_hosts_and_outcomes_come_worst_first():
    document = from_run(fleet())
    assert [system["name"] for system in document["systems"]] == ["F11", "ABS", "GHO"]
    assert [host["name"] for host in document["systems"][0]["hosts"]] == ["sick", "dead"]
    assert [each["status"] for each in document["systems"][0]["hosts"][0]["outcomes"]] == ["critical", "warning", "ok"]
    assert document["status"] == "critical"
    assert document["counts"] == {"ok": 3, "skipped": 0, "unknown": 1, "warning": 1, "critical": 2}
    assert document["roll_call"]["expected"] == 4
    assert document["roll_call"]["answered"] == 3
    assert [each["host"] for each in document["roll_call"]["missing"]] == ["dead"]


def test_the_report_of_a_recorded_run_knows_what_came_before(recorded):
    assert [point["status"] for point in recorded["history"]] == ["critical"] * 3
    hosts = {host["name"]: host for system in recorded["systems"] for host in system["hosts"]}
    assert [point["status"] for point in hosts["calm"]["history"]] == ["critical", "critical", "ok"]
    disk = hosts["sick"]["outcomes"][0]
    assert disk["history"]["metric"] == "used_percent"
    assert [point["value"] for point in disk["history"]["points"]] == [89, 90, 91]
    assert (disk["since"], disk["new"]) == ("2026-11-19T09:00:00Z", False)
    assert [(each["host"], each["subject"], each["status"]) for each in recorded["resolved"]] == [
        ("calm", "redis", "critical")
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_fits_and_shows_the_whole_of_what_is_bad(recorded, width):
    lines = [line for line, _status in table.render(recorded, width)]
    assert max(len(line) for line in lines) <= width
    text = " ".join(" ".join(lines).split())
    for needed in (
        "daily: CRITICAL",
        "2 critical",
        "sick",
        "disk:used",
        "used 97 %",
        "2 d",
        "Roll-call: 3 of 4 hosts answered",
        "No longer bad",
    ):
        assert needed in text
    bad = next(number for number, line in enumerate(lines) if line.startswith("critical"))
    assert bad < min(number for number, line in enumerate(lines) if line.startswith("ok"))


def test_ok_rows_are_a_count_for_each_stage_and_many_good_hosts_are_one_line():
    few = [line for line, _status in table.render(from_run(fleet()))]
    assert any(line.split() == ["ok", "calm", "backup", "1,", "health", "1"] for line in few)
    many = make_run(
        *(HostAnswer(f"h{number}", "F11", True, [outcome("cpu", "health", "ok", "")]) for number in range(200))
    )
    lines = [line for line, _status in table.render(from_run(many))]
    assert len(lines) < 8
    assert any("200 hosts without a finding" in line for line in lines)


def test_a_hosts_words_cannot_steer_the_terminal():
    text = "\n".join(line for line, _status in table.render(from_run(fleet(text=HOSTILE))))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>" in text.replace("\n", "")


def test_wide_characters_do_not_break_the_width():
    for line, _status in table.render(from_run(fleet(text="磁盘已满" * 40)), 100):
        assert table._width(line) <= 100


def database(subject: str, stage: str = "verify", status: str = "ok", metrics=None, **said):
    return outcome(subject, stage, status, "said", metrics=metrics or {}, details={"recovery": said})


MADE = {"created": "2026-11-21T06:00:00Z", "level": "restored", "proven": "2026-11-21T06:01:00Z"}
GOOD = {"recovery_point_seconds": 7200, "recovery_time_seconds": 5.4}


def recovered(*outcomes):
    (system,) = from_run(make_run(HostAnswer("db", "GHO", True, list(outcomes))))["systems"]
    return system["recovery"]


@pytest.mark.parametrize(
    ("metrics", "targets", "status"),
    [
        (GOOD, {}, "ok"),
        (GOOD, {"target_time_seconds": 6, "target_point_seconds": 7200}, "ok"),
        (GOOD, {"target_time_seconds": 5}, "warning"),
        (GOOD, {"target_point_seconds": 7199}, "warning"),
        ({"recovery_point_seconds": 1}, {}, "ok"),
        ({"recovery_point_seconds": 1}, {"target_time_seconds": 3600}, "warning"),
        ({"recovery_time_seconds": 1}, {}, "critical"),
        ({}, {"target_time_seconds": 1}, "critical"),
    ],
)
def test_recovery_is_held_against_its_targets(metrics, targets, status):
    (row,) = recovered(database("postgresql:a", metrics=metrics, **MADE, **targets))
    assert (row["status"], row["host"], row["subject"]) == (status, "db", "postgresql:a")


def test_a_database_is_told_once_by_the_stage_that_knows_it_best():
    rows = recovered(
        database("sqlite:a", "backup_info", metrics={"recovery_point_seconds": 3}),
        database("sqlite:a", "backup", metrics={"recovery_point_seconds": 2}),
        database("sqlite:a", "verify", metrics={"recovery_point_seconds": 1}),
        database("sqlite:b", "backup", metrics=GOOD, **MADE),
        database("sqlite:c", "elsewhere", metrics=GOOD),
        outcome("cpu", "health", "ok", "fine"),
    )
    assert [(row["subject"], row["point_seconds"]) for row in rows] == [("sqlite:a", 1.0), ("sqlite:b", 7200.0)]


def test_what_a_host_says_of_recovery_is_text_and_numbers_alone():
    said = {
        "created": ["x"],
        "level": {"a": 1},
        "proven": HOSTILE,
        "target_time_seconds": "1h",
        "target_point_seconds": True,
    }
    (row,) = recovered(database("sqlite:a", metrics=GOOD, **said))
    assert (row["created"], row["level"], row["target_time_seconds"], row["target_point_seconds"]) == (None,) * 4
    assert recovered(outcome("sqlite:a", "verify", "ok", "", details={"recovery": "soon"})) == []
    found = parse(from_run(make_run(HostAnswer("db", "GHO", True, [database(HOSTILE, metrics=GOOD, **said)]))))
    assert not {tag for tag, _attributes in found.tags} & {"script", "img"}


@pytest.mark.parametrize("width", [60, 100])
def test_recovery_stands_in_the_page_and_in_the_table_and_in_the_history(tmp_path, width):
    late = {"target_time_seconds": 3600, "target_point_seconds": 3600}
    outcomes = [
        database("postgresql:late", metrics=GOOD, **MADE, **late, measured="2026-11-21T06:01:00Z"),
        database("sqlite:none", target_time_seconds=60),
    ]
    history = History(f"sqlite:///{tmp_path}/history.db")
    history.record(make_run(HostAnswer("db", "GHO", True, outcomes)))
    document = from_history(history, history.find())
    text = " ".join(" ".join(parse(document).text.split()).split())
    for needed in (
        "Recovery",
        "postgresql:late",
        "2 h old",
        "target 60 min",
        "restored",
        "5.4 s",
        "none",
        "not measured",
    ):
        assert needed in text
    lines = [line for line, _status in table.render(document, width)]
    assert max(map(len, lines)) <= width
    joined = " ".join(" ".join(lines).split())
    assert "Recovery critical sqlite:none (db): no good copy; no restore was measured (target 60.0 s)" in joined
    assert (
        "warning postgresql:late (db): newest good copy 2.0 h old (target 60.0 min), proven as restored; a restore takes 5.4 s"
        in joined
    )


def test_of_many_databases_the_table_lists_those_past_their_targets():
    many = [database(f"sqlite:{number}", metrics=GOOD, **MADE) for number in range(30)]
    document = from_run(make_run(HostAnswer("db", "GHO", True, [*many, database("sqlite:bad")])))
    lines = [line for line, _status in table.render(document)]
    assert sum("sqlite:" in line for line in lines) == 1
    assert any("30 databases can be recovered within their targets" in line for line in lines)


class Tags(html.parser.HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def parse(document) -> Tags:
    parser = Tags()
    parser.feed("".join(page.render_page(document)))
    return parser


def test_the_page_requests_nothing_and_runs_nothing_of_what_hosts_say(tmp_path):
    history = History(f"sqlite:///{tmp_path}/history.db")
    run = fleet(text=HOSTILE.replace("\x1b", ""))
    run = make_run(HostAnswer(HOSTILE, HOSTILE, True, run.hosts[1].outcomes), *run.hosts)
    history.record(run)
    history.record(make_run(*run.hosts, day=22))
    found = parse(from_history(history, history.find()))
    names = {tag for tag, _attributes in found.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in found.tags:
        assert not {"src", "srcset", "style"} & set(attributes), tag
        assert (attributes.get("href") or "#")[0] == "#", tag
        assert not [name for name in attributes if name.startswith("on")], tag
    policy = [
        each["content"]
        for tag, each in found.tags
        if tag == "meta" and each.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "<script>alert(1)</script>" in found.text
    assert "{{ 7 * 7 }}" in found.text


def test_the_page_has_every_host_its_history_and_what_is_bad_first(recorded):
    found = parse(recorded)
    for name in (
        "calm",
        "sick",
        "dead",
        "queer",
        "no answer understood",
        "unreachable: refused",
        "3 of 4 hosts answered",
    ):
        assert name in found.text
    assert sum(tag == "rect" for tag, _attributes in found.tags) == 3 + 4 * 3
    assert sum(tag == "polyline" for tag, _attributes in found.tags) == 2
    # Both stand in the list of sections as well.
    attention = found.text.rindex("What needs attention")
    assert attention < found.text.index("disk:used 97 %") < found.text.rindex("Roll-call")


def test_a_page_without_history_or_findings_is_whole():
    found = parse(from_run(make_run(HostAnswer("calm", "", True, [outcome("cpu", "health", "ok", "fine")]))))
    assert "Nothing: every check that was made is well." in found.text
    assert "no system" in found.text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("used_percent", 97.123, "97.12 %"),
        ("size_bytes", 148060123, "141 MiB"),
        ("size_bytes", 1023, "1,023 B"),
        ("response_seconds", 0.0421, "42.1 ms"),
        ("age_seconds", 90000, "25 h"),
        ("files", 1234567, "1,234,567"),
        ("ratio", 0.5, "0.5"),
    ],
)
def test_figures_are_shown_in_the_unit_of_their_metric(metric, value, text):
    assert page_figures.figure(metric, value) == text


def test_a_line_that_never_moves_lies_in_the_middle():
    assert {point.split(",")[1] for point in page.spark([{"value": 5}] * 4)["line"].split()} == {"14.0"}


def test_files_are_whole_private_and_the_latest_never_goes_back(tmp_path):
    folder = tmp_path / "a" / "reports"
    new, old = from_run(fleet(21)), from_run(fleet(20))
    paths = output.write_reports(new, str(folder), ["json", "html"])
    output.write_reports(old, str(folder), ["json"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(paths["json"]).stat().st_mode) == 0o640
    with open(folder / "daily_latest.json", encoding="utf-8") as stream:
        assert json.load(stream) == json.loads(json.dumps(new))
    assert sorted(each.name for each in folder.iterdir()) == [
        "daily_20261120T090000Z-abcdef.json",
        "daily_20261121T090000Z-abcdef.html",
        "daily_20261121T090000Z-abcdef.json",
        "daily_20261121T090000Z-abcdef_executive.html",
        "daily_latest.html",
        "daily_latest.json",
        "daily_latest_executive.html",
    ]


def test_a_failure_half_way_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    document = from_run(fleet())
    path = output.write_reports(document, str(tmp_path), ["json"])["json"]
    with open(path, encoding="utf-8") as stream:
        before = stream.read()
    document["unwritable"] = object()
    with pytest.raises(TypeError):
        output.write_reports(document, str(tmp_path), ["json"])
    with open(path, encoding="utf-8") as stream:
        assert stream.read() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=rf"directory: '{tmp_path}/file/reports' cannot hold the report: Not a directory"
    ):
        output.write_reports(from_run(fleet()), str(tmp_path / "file" / "reports"), ["json"])


def test_a_playbooks_name_cannot_lead_out_of_the_folder(tmp_path):
    document = from_run(fleet())
    document["run"]["playbook"] = "../../etc/cron d"
    path = output.write_reports(document, str(tmp_path), ["json"])["json"]
    assert Path(path).parent == tmp_path
