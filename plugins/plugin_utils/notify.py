# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell contacts what changed: decide, send, remember (I6).

Decided and remembered in the history store: what a target was told, and what it still is to be told. A message is first
written there as pending and only then sent, so that a run that is killed, or a service that is down, leaves it to the next
run. Without the store everything that is bad is sent: better twice than never.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from collections.abc import Iterator, Mapping, Sequence

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError
from ansible_collections.sre.runbooks.plugins.plugin_utils import notify_outcomes, notify_page
from ansible_collections.sre.runbooks.plugins.plugin_utils._engine import HistoryError
from ansible_collections.sre.runbooks.plugins.plugin_utils.collect import iso
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_contacts import Contact, Target
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_ledger import OUTCOME, Key, Ledger, Row, new_row
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_matter import Matter, Step, step
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_message import Message, message
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_outcomes import Outcome
from ansible_collections.sre.runbooks.plugins.plugin_utils.notify_send import Answer, send

CLAIM_SECONDS = 30
"""How long beside the time limit nobody else sends what this run is sending."""

PAGE_KEY: Key = ("status_page", "status page", "page")


@dataclasses.dataclass(frozen=True)
class Request:
    """What to tell whom; times in seconds.

    `escalated` are contacts told whatever they filter, with the level escalated to. None: no escalation is in use, so that
    contacts with a level hear of incidents as all do.
    """

    contacts: Sequence[Contact]
    matters: Sequence[Matter]
    kind: str
    run: str
    now: datetime.datetime
    escalated: Mapping[str, str] | None = None
    covers: t.Callable[[str], bool] | None = None
    report: str = ""
    remind_after: float = 0.0
    timeout: float = 10.0
    time_limit: float = 60.0
    attempts: int = 3
    page: Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Delivery:
    """A message for one target; `told` is what the target knows when it has got it, None for one of an earlier run."""

    key: Key
    contact: Contact
    target: Target
    message: Message
    told: Mapping[str, str]


class Notifier:
    """One call of the action."""

    def __init__(self, request: Request, ledger: Ledger) -> None:
        self._request = request
        self._ledger = ledger
        self._now = f"{request.now:%Y-%m-%dT%H:%M:%S+00:00}"
        self._deliveries: list[Delivery] = []
        self._rows: dict[Key, Row] = {}
        self._given_up: list[Key] = []
        self._page: Row = {}
        self._trouble = ""

    def run(self, check_mode: bool) -> dict[str, t.Any]:
        """Send what is due; in check mode only say so. Raises RunbookError where nothing can be sent at all."""
        if check_mode:
            self._decide(self._ledger.rows())
            return self._result({}, {"sent": False})
        try:
            self._ledger.change(self._decide)
        except HistoryError as error:
            self._trouble = str(error)
            self._deliveries.clear()
            self._decide({})
        answers = self._send()
        self._remember(answers)
        result = self._result(answers, {"sent": True})
        self._finish(result)
        return result

    # --- What is due ---

    def _decide(self, rows: dict[Key, Row]) -> dict[Key, Row]:
        changed: dict[Key, Row] = {}
        due: set[Key] = set()
        for contact in self._request.contacts:
            for target in contact.targets:
                for matter in self._matters(rows, contact, target):
                    key = (matter.key, contact.name, target.name)
                    if self._waits(rows.get(key), matter, contact):
                        continue
                    due.add(key)
                    row = self._due(key, rows.get(key), matter, contact, target)
                    if row is not None:
                        changed[key] = row
        changed.update(self._left_over(rows, due))
        if self._request.page:
            self._page = rows.get(PAGE_KEY) or new_row("status_page")
            self._page = {**self._page, "opened": self._now, "told": self._next_page()}
            changed[PAGE_KEY] = self._page
        self._rows = {key: row for key, row in changed.items() if key != PAGE_KEY}
        return changed

    def _matters(self, rows: Mapping[Key, Row], contact: Contact, target: Target) -> Iterator[Matter]:
        """Yield the matters of this call, and for each system that the run has no host of any more an empty one."""
        yield from self._request.matters
        if self._request.covers is None:
            return
        present = {matter.key for matter in self._request.matters}
        for key, row in rows.items():
            if key[1:] == (contact.name, target.name) and row["kind"] == self._request.kind and key[0] not in present:
                yield Matter(
                    key[0], row["kind"], self._request.run, key[0].partition(":")[2], iso(self._request.now), frozenset(), {},
                    self._request.covers,
                )  # fmt: skip

    def _waits(self, row: Row | None, matter: Matter, contact: Contact) -> bool:
        """Tell whether an escalation that did not get through is still to be told, though nobody escalates now."""
        if row is None or not matter.incident or not matter.problems or contact.name in (self._request.escalated or {}):
            return False
        return bool(row["pending"].get("message", {}).get("event") == "escalate")

    def _due(self, key: Key, row: Row | None, matter: Matter, contact: Contact, target: Target) -> Row | None:
        forced = contact.name in (self._request.escalated or {}) and matter.incident
        hears = contact.hears(matter.kind, matter.tags)
        if matter.incident and contact.level and self._request.escalated is not None:
            # Contacts with a level hear of an incident when it is escalated to them.
            hears = False
        if row is None and not hears and not forced:
            return None
        known = row or new_row(matter.kind)
        if known["claimed"] > self._now:
            return None
        what = step(matter, contact, known, self._request.now, self._request.remind_after, forced)
        opened = bool(known["opened"]) and not known["resolved"]
        if what.event and not (hears or forced or opened):
            what = Step("", {})
        # PagerDuty knows no such state: the alert stays open.
        if what.event == "stable" and target.name.startswith("pagerduty"):
            what = dataclasses.replace(what, event="")
        if not what.event:
            return (
                None if row is None else {**known, "told": what.told, "pending": {}, "pending_since": "", "attempts": 0}
            )
        level = (self._request.escalated or {}).get(contact.name, "")
        text = message(matter, what, level, self._request.report)
        self._deliveries.append(Delivery(key, contact, target, text, what.told))
        since = known["pending_since"] or self._now
        return {
            **known,
            "pending": {"message": text, "told": what.told},
            "pending_since": since,
            "claimed": self._until(),
        }

    def _left_over(self, rows: Mapping[Key, Row], due: set[Key]) -> dict[Key, Row]:
        """Messages of earlier runs that no service took yet."""
        reach = {
            (contact.name, target.name): (contact, target)
            for contact in self._request.contacts
            for target in contact.targets
        }
        changed: dict[Key, Row] = {}
        for key, row in rows.items():
            if not row["pending"] or key in due or row["claimed"] > self._now or key[1:] not in reach:
                continue
            age = self._request.now - datetime.datetime.fromisoformat(row["pending_since"])
            if age.total_seconds() > notify_outcomes.PENDING_SECONDS:
                self._given_up.append(key)
                changed[key] = {**row, "pending": {}, "pending_since": "", "attempts": 0}
                continue
            pending = row["pending"]
            self._deliveries.append(Delivery(key, *reach[key[1:]], pending["message"], pending["told"]))
            changed[key] = {**row, "claimed": self._until()}
        return changed

    def _until(self) -> str:
        until = self._request.now + datetime.timedelta(seconds=self._request.time_limit + CLAIM_SECONDS)
        return f"{until:%Y-%m-%dT%H:%M:%S+00:00}"

    def _next_page(self) -> notify_page.Page:
        return notify_page.updated(self._page["told"], self._request.matters, iso(self._request.now))

    # --- Sending ---

    def _send(self) -> dict[str, Answer]:
        """Check every address, due or not, and send; answers by `contact/target` and `contact/target/number`."""
        targets: list[dict[str, t.Any]] = []
        for contact in self._request.contacts:
            for target in contact.targets:
                name = f"{contact.name}/{target.name}"
                messages = [
                    {**each.message, "id": f"{name}/{number}"}
                    for number, each in enumerate(self._deliveries)
                    if (each.contact.name, each.target.name) == (contact.name, target.name)
                ]
                targets.append({"id": name, "url": target.url, "messages": messages})
        url = self._request.page.get("url")
        if url:
            made = notify_page.document(self._page["told"], self._request.page, iso(self._request.now))
            targets.append(
                {
                    "id": "page",
                    "url": str(url),
                    "put": True,
                    "messages": [{"id": "page/0", "event": "page", "document": made}],
                }
            )
        if not targets:
            return {}
        return send(targets, self._request.timeout, self._request.time_limit, self._request.attempts)

    def _answer(self, number: int, answers: Mapping[str, Answer]) -> Answer:
        each = self._deliveries[number]
        return answers[f"{each.contact.name}/{each.target.name}/{number}"]

    def _remember(self, answers: Mapping[str, Answer]) -> None:
        for number, each in enumerate(self._deliveries):
            row, event = self._rows[each.key], each.message["event"]
            if not self._answer(number, answers)["ok"]:
                self._rows[each.key] = {**row, "attempts": row["attempts"] + 1, "claimed": ""}
                continue
            reopened = not row["opened"] or row["resolved"]
            self._rows[each.key] = {
                **row,
                "opened": self._now if reopened else row["opened"],
                "resolved": self._now if event == "resolve" else "",
                "sent": self._now,
                "status": each.message["status"],
                "told": each.told,
                "pending": {},
                "pending_since": "",
                "claimed": "",
                "attempts": 0,
            }

    def _finish(self, result: dict[str, t.Any]) -> None:
        """Write what became of everything; a store that cannot be written to is an outcome of its own."""
        lines = [*result["told"], *result["missed"]]
        events = [
            self._event(each["key"], each["contact"], each["target"], each["event"], each["status"], each["reason"])
            for each in lines
        ]
        events += [
            self._event("", each["subject"], "", OUTCOME, each["status"], each["summary"])
            for each in result["outcomes"]
        ]
        if self._trouble:
            return
        try:
            self._ledger.finish(self._rows, events, self._request.run)
        except HistoryError as error:
            result["outcomes"].append(notify_outcomes.of_store(str(error)))

    def _event(self, key: str, contact: str, target: str, event: str, status: str, summary: str) -> dict[str, str]:
        return {
            "run": self._request.run, "time": self._now, "key": key, "contact": contact, "target": target, "event": event,
            "status": status, "summary": summary,
        }  # fmt: skip

    # --- What the run says of it ---

    def _result(self, answers: Mapping[str, Answer], mode: Mapping[str, bool]) -> dict[str, t.Any]:
        told: list[Outcome] = []
        failed: list[Outcome] = []
        for number, each in enumerate(self._deliveries):
            answer = self._answer(number, answers) if mode["sent"] else {"ok": True, "reason": ""}
            line = {
                "contact": each.contact.name,
                "level": (self._request.escalated or {}).get(each.contact.name, "") or each.contact.level,
                "target": each.target.name,
                "event": each.message["event"],
                "key": each.message["key"],
                "title": each.message["title"],
                "time": self._now.replace("+00:00", "Z"),
                "status": "ok" if answer["ok"] else "warning",
                "reason": answer["reason"],
            }
            (told if answer["ok"] else failed).append(line)
        outcomes = [self._outcome(contact, told, failed, answers, mode["sent"]) for contact in self._request.contacts]
        if self._request.page:
            outcomes.append(self._page_outcome(answers, mode["sent"]))
        if self._trouble:
            outcomes.append(notify_outcomes.of_store(self._trouble))
        return {"outcomes": outcomes, "told": told if mode["sent"] else [], "missed": failed, "run": self._request.run}

    def _outcome(
        self,
        contact: Contact,
        told: Sequence[Outcome],
        failed: Sequence[Outcome],
        answers: Mapping[str, Answer],
        sent: bool,
    ) -> Outcome:
        mine, missed = ([each for each in lines if each["contact"] == contact.name] for lines in (told, failed))
        # An address that was refused; one that was not looked at in time says nothing against it.
        checks = {target.name: answers[f"{contact.name}/{target.name}"] for target in contact.targets if sent}
        wrong = [
            f"{name} {each['reason']}" for name, each in checks.items() if not each["ok"] and "attempts" not in each
        ]
        gone = sum(key[1] == contact.name for key in self._given_up)
        return notify_outcomes.of_contact(contact.name, mine, missed, wrong, gone, sent)

    def _page_outcome(self, answers: Mapping[str, Answer], sent: bool) -> Outcome:
        made = notify_page.document(self._page["told"], self._request.page, iso(self._request.now))
        problems = []
        if sent and self._request.page.get("directory"):
            try:
                notify_page.write(made, str(self._request.page["directory"]))
            except InputError as error:
                problems.append(str(error))
        if sent and self._request.page.get("url") and not answers["page/0"]["ok"]:
            problems.append(f"its server {answers['page/0']['reason']}")
        return notify_outcomes.of_page(PAGE_KEY[1], str(made["status"]), problems, sent)
