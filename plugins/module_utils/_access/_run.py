# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The review of all services: look, compare, change what may be changed, look again, tell what is not as it should be."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._access import _api, _plan
from ansible_collections.sre.runbooks.plugins.module_utils._core import outcome, units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._access._settings import Service

STAGE = "access_review"
SHOWN = 100  # outcomes of single users for each service; the figures count all of them


class Review:
    """One service."""

    def __init__(self, service: Service, log_outcomes: t.Sequence[t.Mapping[str, t.Any]], check: bool) -> None:
        self.service, self._logs, self._check = service, log_outcomes, check
        self.changed = False
        self.before = self.after = ""
        self._said: dict[str, dict[str, t.Any]] = {}
        self._metrics: dict[str, float] = {}

    def go(self) -> list[dict[str, t.Any]]:
        """Its outcomes: the service's, and one for each user of whom there is something to tell."""
        try:
            found = _api.accounts(self.service)
        except RunbookError as error:
            return [self._outcome("", "unknown", f"the users cannot be looked at: {error}")]
        planned = _plan.changes(self.service, found)
        self.before = _plan.lines(self.service, found)
        status, text = "ok", ""
        refused = _plan.refusal(self.service, found, planned)
        if refused:
            plan = ", ".join(each.shown() for each in planned[:20]) + (" …" if len(planned) > 20 else "")
            status, text = "critical", f"refused, nothing was changed: {refused}; planned: {plan}"
            for change in planned:
                self._tell(change.user, "warning", f"{change.why}; not changed, see the service")
        elif self._check:
            self.changed = bool(planned)
            self.after = _plan.lines(self.service, found, planned)
            for change in planned:
                self._tell(change.user, "warning", f"{change.why}; would {change.shown()}")
        elif planned:
            found, status, text = self._apply(found, planned)
        self.after = self.after or _plan.lines(self.service, found)
        self._judge(found)
        whole = f"{len(found)} users, {len(_plan.admins(self.service, found))} {self.service.options['admin_role']}"
        self._metrics.update(users=len(found), admins=len(_plan.admins(self.service, found)), drift=len(planned))
        worst = outcome.worst([status, *[each["status"] for each in self._said.values()]]) if status == "ok" else status
        if not text:
            told = [f"{name}: {each['text']}" for name, each in sorted(self._said.items()) if each["status"] != "ok"]
            text = "; ".join(told[:3]) + (f" (and {len(told) - 3} more)" if len(told) > 3 else "")
        first = self._outcome("", worst, f"{whole}; {text}" if text else whole, self._metrics)
        order = sorted(self._said, key=lambda name: (-outcome.STATUSES.index(self._said[name]["status"]), name))
        return [
            first,
            *[self._outcome(name, self._said[name]["status"], self._said[name]["text"]) for name in order[:SHOWN]],
        ]

    def _apply(
        self, found: dict[str, _api.Account], planned: t.Sequence[_plan.Change]
    ) -> tuple[dict[str, _api.Account], str, str]:
        """Make the changes until one fails, for what comes later may rest on it; then see what has become of them."""
        tried: list[_plan.Change] = []
        problem = ""
        for change in planned:
            if self.service.options[change.what] is None:
                self._tell(
                    change.user, "warning", f"{change.why}; the inventory describes no request for it ({change.what})"
                )
                continue
            tried.append(change)
            try:
                _api.tell(self.service, change.what, change.user, change.role, found.get(change.user))
            except RunbookError as error:
                problem = f"{change.shown()}: {error}"
                self._tell(change.user, "critical", f"{change.why}; {error}")
                break
        try:
            now = _api.accounts(self.service)
        except RunbookError as error:
            # What was asked for may have been done.
            self.changed = bool(tried)
            return found, "critical", problem or f"what was changed cannot be seen: {error}"
        for change in tried:
            if _plan.done(change, now):
                self.changed = True
                self._tell(change.user, "ok", f"{change.why}: {change.shown()} done")
            else:
                text = f"{change.why}; {change.shown()} was asked for, and the service does not list it so"
                self._tell(change.user, "critical", text)
                problem = problem or f"{change.user}: {text}"
        rest = [each for each in planned if each not in tried and self.service.options[each.what] is not None]
        for change in rest:
            self._tell(change.user, "warning", f"{change.why}; not changed, for an earlier change failed")
        return (
            now,
            "critical" if problem else "ok",
            problem and f"{problem}; {len(rest)} change(s) not tried. Run again",
        )

    # --- What is to be told ---

    def _judge(self, found: t.Mapping[str, _api.Account]) -> None:
        options, now = self.service.options, time.time()
        for account in _plan.unlisted(self.service, found):
            if account.name == options["acts_as"]:
                self._tell(account.name, "ok", "is the account that this acts as, and is not in the inventory")
            elif options["unlisted"] == "report":
                self._tell(account.name, "warning", f"is not in the inventory, and is {account.role}")
        active = {name: each for name, each in found.items() if not each.disabled}
        for name, account in active.items():
            if options["roles"] and account.role not in options["roles"]:
                self._tell(name, "warning", f"has the role {account.role}, which is none that is allowed")
            since = account.last_login or account.created
            if account.tells_logins and since is not None and options["idle"] and now - since > options["idle"]:
                what = "no login" if account.last_login else "never a login, made"
                self._tell(
                    name,
                    "warning",
                    f"{what} for {units.show_duration(now - since)}"
                    if account.last_login
                    else f"{what} {units.show_duration(now - since)} ago",
                )
        admins = _plan.admins(self.service, found)
        if options["admins"] is not None and len(admins) > options["admins"]:
            self._tell(
                f"{options['admin_role']}s",
                "warning",
                f"{len(admins)} of them, more than {options['admins']}: {', '.join(sorted(admins)[:10])}",
            )
        self._failures(active)

    def _failures(self, active: t.Mapping[str, _api.Account]) -> None:
        """Failed logins by account, as the rules of log_scan counted them; addresses and unknown names are only summed up."""
        wanted = self.service.options["failures"]
        if not wanted["rules"]:
            return
        counts: dict[str, int] = {}
        seen = False
        for each in self._logs:
            details = each.get("details") or {}
            if details.get("rule") not in wanted["rules"]:
                continue
            seen = True
            for name, count in (details.get("top") or {}).items():
                counts[str(name)] = counts.get(str(name), 0) + int(count)
        if not seen:
            self._tell(
                "logins", "unknown", f"log_scan has no result of {', '.join(wanted['rules'])}. Run it in the same play"
            )
            return
        self._metrics["login_failures"] = sum(counts.values())
        self._metrics["login_failures_unknown_accounts"] = sum(
            count for name, count in counts.items() if name not in active
        )
        for name, count in counts.items():
            if name not in active:
                continue
            status = "critical" if count > wanted["critical"] else "warning" if count > wanted["warning"] else "ok"
            self._tell(name, status, f"{count} failed login(s)")

    def _tell(self, user: str, status: str, text: str) -> None:
        said = self._said.setdefault(user, {"status": "ok", "text": ""})
        said["status"] = outcome.worst([said["status"], status])
        if text not in said["text"]:
            said["text"] = f"{said['text']}; {text}" if said["text"] else text

    def _outcome(
        self, user: str, status: str, text: str, metrics: t.Mapping[str, float] | None = None
    ) -> dict[str, t.Any]:
        subject = f"{self.service.subject}:{user}" if user else self.service.subject
        return outcome.outcome(subject, STAGE, status, text, metrics=metrics)


def run(
    services: t.Sequence[Service], log_outcomes: t.Sequence[t.Mapping[str, t.Any]], check: bool
) -> dict[str, t.Any]:
    """Review all services, one after the other; one that fails keeps no other from its turn."""
    reviews = [Review(service, log_outcomes, check) for service in services]
    outcomes = [each for review in reviews for each in review.go()]
    changed = any(review.changed for review in reviews)
    more: dict[str, t.Any] = {}
    if changed:
        more["diff"] = {
            "before": "".join(review.before for review in reviews), "after": "".join(review.after for review in reviews)
        }  # fmt: skip
    return outcome.envelope(outcomes, changed, **more)
