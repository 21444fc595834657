# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of an incident on a real SQLite store, call by call (I1, I2, I7, I8)."""

from __future__ import annotations

import hashlib
import json
import stat
import time

import pytest

from ansible_collections.sre.runbooks.plugins.action.incident import ActionModule
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.module_utils._core.outcome import outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils import incident_request
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_run import run
from ansible_collections.sre.runbooks.plugins.plugin_utils.incident_state import moment

CONTACTS = [
    {"name": "desk", "level": "support", "urls": ["json://:topsecret@127.0.0.1"]},
    {"name": "on-call", "level": "engineering", "urls": ["json://127.0.0.1"]},
]
SICK = {"outcomes": [{**outcome("http:api", "health", "critical", "no answer, password=hunter2"), "since": "2026-11-21T08:57:00Z"},
                     outcome("disk:/", "health", "ok", "40 %")]}  # fmt: skip
WELL = {"outcomes": [outcome("http:api", "health", "ok", "200")]}
RESTART = {"outcomes": [outcome("restart:f11.service", "stabilise", "ok", "restarted, healthy after 3 s")]}
LOST = {"unreachable": True, "msg": "no route to host"}


class Hostvars(dict):
    """As ansible-core's: iterates over hosts, gives variables as they are."""

    def raw_get(self, name):
        return self[name]


class Desk:
    """Calls the action as tasks of one run would, with a clock that the test sets; each call returns its result."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.hosts = Hostvars({"f11-app": {"runbooks_system": "F11"}, "f11-db": {"runbooks_system": "F11"}})
        self.clock = "2026-11-21T09:00:00Z"
        desk = self

        class Clock(incident_request.datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                assert tz is not None
                return moment(desk.clock)

        class Module:
            datetime = Clock
            UTC = incident_request.datetime.UTC

        monkeypatch.setattr(incident_request, "datetime", Module)
        monkeypatch.setattr(incident_request, "run_name", lambda: f"run-{desk.clock}")

    def answer(self, stage, **results):
        for name in self.hosts:
            self.hosts[name].pop(f"{stage}_result", None)
        for name, result in results.items():
            self.hosts[name.replace("_", "-")][f"{stage}_result"] = result

    def call(self, state, *ids, dry=False, **options):
        defaults = {name: spec.get("default") for name, spec in ActionModule.ARGUMENTS.items()}
        places = {"history_url": f"sqlite:///{self.folder}/history.db", "directory": f"{self.folder}/drafts"}
        arguments = {**defaults, **places, "state": state, "incident_id": list(ids), "actor": "Kim", **options}
        task_vars = {"hostvars": self.hosts, "ansible_play_hosts_all": list(self.hosts)}
        result, self.lines = run(arguments, task_vars, dry)
        json.dumps(result)
        return result

    def open(self, **options):
        return self.call("opened", type="unresponsive", **options)["incident"]["id"]

    def sick(self, **options):
        id_ = self.open(**options)
        self.answer("detect", f11_app=SICK, f11_db=WELL)
        self.call("recorded", id_, stages=["detect"], contacts=CONTACTS)
        return id_

    def events(self, id_):
        from ansible_collections.sre.runbooks.plugins.plugin_utils.incidents import Incidents

        return Incidents(f"sqlite:///{self.folder}/history.db").run(lambda ledger: ledger.events(id_)).value


@pytest.fixture
def desk(tmp_path, monkeypatch):
    return Desk(tmp_path, monkeypatch)


def test_the_whole_life_of_an_incident(desk):
    """I7: alarm, detection, assessment, response, communication, resolution, post-mortem; I8: both times measured."""
    opened = desk.call(
        "opened",
        type="unresponsive",
        title="The API does not answer",
        source="alertmanager",
        started="2026-11-21T08:58:00Z",
    )
    assert (opened["incident"]["opened_now"], opened["stored"], opened["to_tell"]) == (True, "store", [])
    id_ = opened["incident"]["id"]
    desk.clock = "2026-11-21T09:00:10Z"
    desk.answer("detect", f11_app=SICK, f11_db=WELL)
    found = desk.call("recorded", id_, stages=["detect"], contacts=CONTACTS)
    assert found["incident"]["severity"] == "P2"  # one of two main endpoints
    assert found["to_tell"] == [{"incident": id_, "contact": "desk", "level": "support"}]
    assert "topsecret" not in json.dumps(found)
    assert found["status"] == "critical"
    desk.call("escalated", id_, told=[{"contact": "desk", "level": "support"}], contacts=CONTACTS)
    assert desk.call("acknowledged", id_, contacts=CONTACTS)["incident"]["acknowledged_by"] == "Kim"
    desk.clock = "2026-11-21T09:04:00Z"
    desk.answer("stabilise", f11_app=RESTART)
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    stable = desk.call("stable", id_, stages=["stabilise", "verify"])["incident"]
    assert (stable["state"], stable["verified"]) == ("stable", True)
    # The alert knew better than the check when it began, but the check's evidence is older: the earliest counts.
    assert stable["timings"]["started"] == "2026-11-21T08:57:00Z"
    assert (stable["timings"]["detect_seconds"], stable["timings"]["detect_within"]) == (180.0, True)
    assert (stable["timings"]["resolve_seconds"], stable["timings"]["resolve_within"]) == (240.0, True)
    closed = desk.call("closed", id_, text="root cause found")["incident"]
    assert closed["state"] == "closed"
    kinds = [event.kind for event in desk.events(id_)]
    assert kinds[0] == "opened"
    for kind in ("stage", "severity", "escalated", "told", "acknowledged", "outcome", "stable", "postmortem", "closed"):
        assert kind in kinds
    assert [event.number for event in desk.events(id_)] == list(range(1, len(kinds) + 1))


def test_two_alarms_are_one_incident_and_another_type_or_system_is_another(desk):
    id_ = desk.open()
    again = desk.call("opened", type="unresponsive")
    assert (again["incident"]["id"], again["incident"]["resumed"], again["incident"]["alerts"]) == (id_, True, 2)
    assert desk.call("opened", type="memory")["incident"]["id"] != id_
    desk.hosts["mcp-app"] = {"runbooks_system": "MCP"}
    both = desk.call("opened", type="unresponsive")
    assert len(both["ids"]) == 2
    assert {each["system"] for each in both["incidents"]} == {"F11", "MCP"}
    assert desk.call("opened", type="unresponsive", systems=["MCP"])["incident"]["system"] == "MCP"


def test_each_incident_takes_in_what_its_own_hosts_answered(desk):
    desk.hosts["mcp-app"] = {"runbooks_system": "MCP"}
    ids = desk.call("opened", type="unresponsive")["ids"]
    desk.answer("detect", f11_app=LOST, f11_db=LOST, mcp_app=WELL)
    found = {each["system"]: each for each in desk.call("recorded", *ids, stages=["detect"])["incidents"]}
    assert found["F11"]["severity"] == "P1"
    assert found["F11"]["why"] == "outage: f11-app, f11-db of 2 down or unreachable"
    assert found["MCP"]["severity"] == "P4"
    assert set(found["MCP"]["progress"]) == {"mcp-app"}


def test_a_killed_run_is_resumed_and_knows_how_far_each_host_came(desk):
    """The controller was killed after the bundle of one host: the next run goes on from there."""
    id_ = desk.sick()
    desk.answer("diagnostics", f11_app={"outcomes": [outcome("bundle", "diagnostics", "ok", "1.2 MiB")]}, f11_db=LOST)
    desk.call("recorded", id_, stages=["diagnostics"])
    desk.clock = "2026-11-21T09:10:00Z"
    resumed = desk.call("opened", type="unresponsive")["incident"]
    assert (resumed["id"], resumed["resumed"]) == (id_, True)
    progress = {
        host: {stage: said["status"] for stage, said in stages.items()} for host, stages in resumed["progress"].items()
    }
    assert progress == {
        "f11-app": {"detect": "critical", "diagnostics": "ok"},
        "f11-db": {"detect": "ok", "diagnostics": "critical"},
    }
    # A run that records the same again adds nothing.
    before = len(desk.events(id_))
    for _again in range(2):
        desk.call("recorded", id_, stages=["diagnostics"])
    assert len(desk.events(id_)) == before + 4


def test_a_silent_host_is_a_finding_and_a_stage_that_never_ran_is_told(desk):
    id_ = desk.open()
    desk.answer("detect", f11_app=LOST, f11_db={"failed": True, "msg": "boom token=abcdef123456"})
    desk.call("recorded", id_, stages=["detect", "diagnostics"])
    told = {(event.host, event.subject): event.summary for event in desk.events(id_) if event.kind == "outcome"}
    assert told["f11-app", "host"] == "unreachable: no route to host"
    assert told["f11-db", "detect"] == "failed: boom token=********"
    assert told["f11-db", "diagnostics"].startswith("never ran")
    assert ("f11-app", "diagnostics") not in told


def test_it_is_not_stable_before_every_host_is_shown_to_be_well(desk):
    id_ = desk.sick()
    desk.answer("verify", f11_app=WELL, f11_db=SICK)
    found = desk.call("stable", id_)
    assert found["incident"]["state"] == "open"
    assert found["incident"]["refused"] == "verify of f11-db is critical"
    assert found["status"] == "critical"
    desk.answer("verify", f11_app=WELL)
    assert "verify of f11-db is critical" in desk.call("stable", id_)["incident"]["refused"]
    desk.answer("verify", f11_app=WELL, f11_db={"outcomes": [outcome("http:api", "health", "warning", "slow")]})
    assert desk.call("stable", id_)["incident"]["refused"] == "verify of f11-db is warning"
    assert desk.call("stable", id_, stable_at="warning")["incident"]["state"] == "stable"


def test_skipped_is_no_proof_and_force_says_so(desk):
    id_ = desk.sick()
    desk.answer("verify", f11_app={"skipped": True, "skip_reason": "off"}, f11_db=WELL)
    assert "verify of f11-app is skipped" in desk.call("stable", id_)["incident"]["refused"]
    with pytest.raises(InputError, match="text: '' is empty, with force"):
        desk.call("stable", id_, force=True)
    forced = desk.call("stable", id_, force=True, text="seen by eye")["incident"]
    assert (forced["state"], forced["verified"]) == ("stable", False)
    # Never closed by itself without proof.
    desk.clock = "2026-11-22T09:00:00Z"
    assert desk.call("watch")["incident"]["state"] == "stable"


def test_stable_and_bad_again_is_reopened(desk):
    id_ = desk.sick()
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    desk.call("stable", id_)
    desk.answer("verify", f11_app=SICK, f11_db=WELL)
    desk.clock = "2026-11-21T09:08:00Z"
    found = desk.call("watch", stages=["verify"])["incident"]
    assert (found["state"], found["id"]) == ("open", id_)
    assert "no longer well: f11-app" in [event.summary for event in desk.events(id_)]


def test_a_closed_one_is_reopened_within_the_time_and_else_a_new_one_is_opened(desk):
    id_ = desk.sick()
    with pytest.raises(InputError, match="is open: nothing has shown that it is well"):
        desk.call("closed", id_)
    desk.call("closed", id_, force=True, text="false alarm")
    desk.clock = "2026-11-21T09:59:00Z"
    again = desk.call("opened", type="unresponsive")["incident"]
    assert (again["id"], again["reopened"], again["state"]) == (id_, True, "open")
    desk.call("closed", id_, force=True, text="again")
    desk.clock = "2026-11-21T11:00:00Z"
    assert desk.call("opened", type="unresponsive")["incident"]["id"] != id_


def test_watch_escalates_what_nobody_answered_and_closes_what_was_quiet(desk):
    """I2 by later runs: nobody acknowledged P2 for an hour; another was verified and quiet for half an hour."""
    id_ = desk.sick()
    quiet = desk.call("opened", type="memory")["incident"]["id"]
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    desk.call("stable", quiet)
    desk.call(
        "escalated",
        id_,
        told=[{"contact": "desk", "status": "critical", "summary": "SMTP down, password=x1y2z3"}],
        contacts=CONTACTS,
    )
    desk.clock = "2026-11-21T09:01:00Z"
    found = desk.call("watch", contacts=CONTACTS)
    assert [(each["contact"], each["level"]) for each in found["to_tell"]] == [
        ("desk", "support"),
        ("on-call", "engineering"),
    ]
    desk.call("escalated", id_, told=[{"contact": "desk"}, {"contact": "on-call"}], contacts=CONTACTS)
    assert desk.call("watch", contacts=CONTACTS)["to_tell"] == []
    desk.clock = "2026-11-21T09:31:00Z"
    states = {each["id"]: each["state"] for each in desk.call("watch", contacts=CONTACTS)["incidents"]}
    assert states == {id_: "open", quiet: "closed"}
    told = [(event.subject, event.status, event.at) for event in desk.events(id_) if event.kind == "told"]
    assert told == [
        ("desk", "critical", "2026-11-21T09:00:00Z"),
        ("desk", "ok", "2026-11-21T09:01:00Z"),
        ("on-call", "ok", "2026-11-21T09:01:00Z"),
    ]
    assert "SMTP down, password=********" in [event.summary for event in desk.events(id_)]
    text = "\n".join(line for line, _status in desk.lines)
    assert text.index(id_) < text.index(quiet)
    assert "Incidents: 1 open, 0 stable, 1 closed" in text


def test_an_incident_that_nobody_assessed_is_not_forgotten(desk):
    """The controller was killed between opening and assessing: the watch makes it P2 and tells."""
    id_ = desk.open()
    desk.clock = "2026-11-21T09:04:00Z"
    assert desk.call("watch", contacts=CONTACTS)["to_tell"] == []
    desk.clock = "2026-11-21T09:06:00Z"
    found = desk.call("watch", contacts=CONTACTS)
    assert (found["incident"]["severity"], found["to_tell"][0]["contact"]) == ("P2", "desk")
    assert found["incident"]["id"] == id_


def test_a_severity_only_gets_worse_by_evidence_and_a_person_may_set_it(desk):
    id_ = desk.sick()
    desk.answer("detect", f11_app=WELL, f11_db=WELL)
    assert desk.call("recorded", id_, stages=["detect"])["incident"]["severity"] == "P2"
    assert desk.call("note", id_, text="customers are not hit", severity="P3")["incident"]["severity"] == "P3"
    desk.answer("detect", f11_app=SICK, f11_db=SICK)
    assert desk.call("recorded", id_, stages=["detect"])["incident"]["severity"] == "P1"


def test_times_that_nobody_measured_are_unknown_and_late_ones_are_late(desk):
    desk.answer("detect", f11_app=WELL, f11_db=WELL)
    id_ = desk.open()
    times = desk.call("recorded", id_, stages=["detect"])["incident"]["timings"]
    assert (times["detect_seconds"], times["detect_within"], times["resolve_seconds"]) == (None, None, None)
    late = desk.call("opened", type="memory", started="2026-11-21T08:54:59Z")["incident"]["timings"]
    assert (late["detect_seconds"], late["detect_within"]) == (301.0, False)
    own = desk.call("opened", type="cache", started="2026-11-21T08:54:59Z", targets={"detect": "10m"})["incident"][
        "timings"
    ]
    assert own["detect_within"] is True


def test_evidence_is_hashed_and_a_file_that_changed_is_told(desk):
    id_ = desk.sick()
    bundle = desk.folder / "f11-app.tar.zst"
    bundle.write_bytes(b"bundle")
    digest = hashlib.sha256(b"bundle").hexdigest()
    entries = [{"host": "f11-app", "path": str(bundle), "sha256": digest}, {"host": "f11-db", "path": str(bundle), "sha256": "0" * 64},
               {"path": str(desk.folder / "gone")}]  # fmt: skip
    for _again in range(2):
        desk.call("recorded", id_, evidence=entries)
    kept = [event for event in desk.events(id_) if event.kind == "evidence"]
    assert [event.status for event in kept] == ["ok", "critical", "unknown"]
    assert kept[0].details == {"path": str(bundle), "sha256": digest, "size_bytes": 6}
    assert "its checksum is not the 0000" in kept[1].summary


def test_the_draft_is_written_and_what_people_wrote_is_left_alone(desk):
    id_ = desk.sick(title="<b>API</b> *down*")
    desk.call("note", id_, text="line one\n| token=abcdefgh12345 |")
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    paths = desk.call("stable", id_)["incident"]["paths"]
    assert set(paths) == {"markdown", "html"}
    drafts = desk.folder / "drafts"
    text, page = (drafts / f"{id_}.md").read_text(), (drafts / f"{id_}.html").read_text()
    assert stat.S_IMODE((drafts / f"{id_}.md").stat().st_mode) == 0o640
    assert "abcdefgh12345" not in text + page
    assert "hunter2" not in text + page
    assert r"\<b\>API\</b\> \*down\*" in text
    assert "&lt;b&gt;API&lt;/b&gt; *down*" in page
    assert "<script" not in page
    assert "What was the root cause" in text
    # Untouched, it is brought up to date; written in, it is left, and the new draft lies beside.
    desk.call("note", id_, text="second")
    assert "second" in (drafts / f"{id_}.md").read_text()
    (drafts / f"{id_}.md").write_text("the root cause was")
    paths = desk.call("closed", id_)["incident"]["paths"]
    assert (drafts / f"{id_}.md").read_text() == "the root cause was"
    assert paths["markdown"].endswith(f"{id_}.new.md")
    assert paths["html"].endswith(f"{id_}.html")


def test_a_folder_that_cannot_be_written_is_told_and_the_incident_is_stable(desk):
    id_ = desk.sick()
    (desk.folder / "file").write_text("")
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    found = desk.call("stable", id_, directory=f"{desk.folder}/file/drafts")
    assert found["incident"]["state"] == "stable"
    assert "post-mortem cannot be written" in found["outcomes"][-1]["summary"]


def test_check_mode_writes_nothing(desk):
    dry = desk.call("opened", type="unresponsive", dry=True)
    assert (dry["stored"], dry["incident"]["opened_now"]) == ("nowhere", True)
    desk.answer("detect", f11_app=SICK, f11_db=SICK)
    assert desk.call("recorded", *dry["ids"], stages=["detect"], dry=True)["incident"]["severity"] == "P1"
    assert list(desk.folder.iterdir()) == []
    id_ = desk.sick()
    before = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    desk.answer("verify", f11_app=WELL, f11_db=WELL)
    assert desk.call("stable", id_, dry=True)["incident"]["state"] == "stable"
    assert {path.name: path.read_bytes() for path in desk.folder.iterdir()} == before


def test_many_hosts_are_written_in_a_moment(desk):
    for number in range(300):
        desk.hosts[f"f11-{number}"] = {"runbooks_system": "F11"}
    desk.answer("detect", **dict.fromkeys(desk.hosts, SICK))
    id_ = desk.open()
    started = time.monotonic()
    desk.call("recorded", id_, stages=["detect"])
    assert time.monotonic() - started < 5
    assert len(desk.events(id_)) > 600


@pytest.mark.parametrize(
    ("state", "options", "told"),
    [
        ("opened", {}, "type: '' is no type of an incident"),
        ("opened", {"type": "a:b"}, "type: 'a:b' is no type"),
        ("recorded", {}, r"incident_id: \[\] names no incident, for the state recorded"),
        ("opened", {"type": "x", "incident_id": ["INC-1"]}, "is given, for the state opened"),
        ("note", {"incident_id": ["INC-1"]}, "text: '' is empty"),
        ("watch", {"targets": {"resolved": "5m"}}, "targets: 'resolved' is no target"),
        ("watch", {"quiet": "soon"}, "quiet: 'soon' is no duration"),
        ("opened", {"type": "x", "started": "noon"}, "started: 'noon' is no time"),
        (
            "opened",
            {"type": "x", "systems": ["NONE"]},
            "systems: 'NONE' has no host in this play. The systems of this inventory are F11",
        ),
        ("opened", {"type": "x", "hosts": ["none"]}, "hosts: 'none' is no host of this play"),
        ("watch", {"told": [{"contact": "json://secret"}]}, r"told\[0\].contact: '…' is no name"),
        ("watch", {"evidence": [{"file": "x"}]}, r"evidence\[0\]: 'file' is no option"),
        ("watch", {"contacts": [{"name": "x", "level": "ceo", "urls": ["json://h"]}]}, "is no level"),
    ],
)
def test_bad_input_is_told_before_anything_is_written(desk, state, options, told):
    options = {"incident_id": [], **options}
    with pytest.raises(InputError, match=told):
        desk.call(state, *options.pop("incident_id"), **options)
    assert list(desk.folder.iterdir()) == []


def test_an_id_that_is_not_there_is_named(desk):
    desk.open()
    with pytest.raises(InputError, match="incident_id: 'INC-404' is no incident of this history"):
        desk.call("note", "INC-404", text="x")


def test_what_stabilise_verified_is_the_proof_and_actions_stand_at_their_own_time(desk):
    id_ = desk.sick()
    desk.clock = "2026-11-21T09:05:00Z"
    action = outcome("service_restart:restart", "stabilise", "ok", "restarted", details={"at": "2026-11-21T09:02:00Z"})
    proof = outcome("host", "verify", "ok", "healthy")
    desk.answer("stabilise", f11_app={"outcomes": [action, proof]}, f11_db={"outcomes": [proof]})
    desk.call("recorded", id_, stages=["stabilise"])
    assert [event.at for event in desk.events(id_) if event.subject == "service_restart:restart"] == [
        "2026-11-21T09:02:00Z"
    ]
    assert desk.call("stable", id_)["incident"]["verified"] is True
    page = (desk.folder / "drafts" / f"{id_}.md").read_text()
    assert "| 09:02:00 | f11-app | service\\_restart:restart | ok | restarted |" in page


def test_a_bundle_that_was_fetched_is_evidence(desk):
    id_ = desk.sick()
    bundle = desk.folder / "bundle.tar.zst"
    bundle.write_bytes(b"bundle")
    digest = hashlib.sha256(b"bundle").hexdigest()
    made = {
        "outcomes": [outcome("diagnostics:bundle", "diagnostics", "ok", "41 files")],
        "bundle": {"fetched": str(bundle), "sha256": digest},
    }
    desk.answer("diagnostics", f11_app=made)
    # Named by the role as well, it is still one piece of evidence.
    for told in ([], [{"host": "f11-app", "path": str(bundle), "sha256": digest, "text": "the bundle"}]):
        desk.call("recorded", id_, stages=["diagnostics"], evidence=told)
    kept = [
        (event.host, event.summary, event.details["sha256"]) for event in desk.events(id_) if event.kind == "evidence"
    ]
    assert kept == [("f11-app", "41 files", digest)]


def test_who_was_reached_at_one_of_two_addresses_was_told(desk):
    """As sre.runbooks.notify tells it: one line for each address."""
    id_ = desk.sick()
    told = [{"contact": "desk", "level": "support", "target": "mailto", "event": "escalate", "key": f"incident:{id_}", "title": "x",
             "time": "2026-11-21T09:00:00Z", "status": "ok", "reason": ""},
            {"contact": "desk", "level": "support", "target": "pagerduty", "key": f"incident:{id_}", "status": "critical", "reason": "503"},
            {"contact": "on-call", "level": "engineering", "key": "incident:INC-other", "status": "ok"}]  # fmt: skip
    found = desk.call("escalated", id_, told=told, contacts=CONTACTS)
    assert found["to_tell"] == []
    assert [(event.subject, event.status, event.summary) for event in desk.events(id_) if event.kind == "told"] == [
        ("desk", "ok", "mailto: sent; pagerduty: 503")
    ]
