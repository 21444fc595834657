# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module sre.runbooks.access_review at the admin API of a real service (K5)."""

from __future__ import annotations

import pytest

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def said(result):
    """Status and text of each outcome by subject."""
    return {each["subject"].partition(":")[2]: (each["status"], each["summary"]) for each in result["outcomes"]}


def user(name, role="VIEWER", **more):
    return {"name": name, "role": role, "attributes": {"email": f"{name}@example.org"}, **more}


def test_k5_created_enabled_disabled_and_given_roles_then_nothing_to_do(access, review):
    access.add("ana", "ANALYST")
    access.add("bert", "VIEWER")
    service = access.service(
        [user("ana", "ADMIN"), user("cleo", "PROJECT_MANAGER"), {"name": "bert", "state": "disabled"}],
        unlisted="disable",
    )
    access.add("eve", "ANALYST")
    planned = review(service, check=True)
    assert planned["changed"]
    assert access.users() == {"ana": "ANALYST", "bert": "VIEWER", "eve": "ANALYST"}
    assert said(planned)["app:cleo"] == ("warning", "is not there; would create cleo as PROJECT_MANAGER")
    assert "app/eve: ANALYST\n" in planned["diff"]["before"]
    assert "app/eve: ANALYST (disabled)\n" in planned["diff"]["after"]
    result = review(service)
    assert result["changed"]
    assert result["status"] == "ok", result["outcomes"]
    assert result["diff"] == planned["diff"]
    assert access.users() == {"ana": "ADMIN", "cleo": "PROJECT_MANAGER"}
    again = review(service)
    assert not again["changed"]
    assert again["status"] == "ok"
    assert again["outcomes"][0]["metrics"]["drift"] == 0
    assert [each["email"] for each in access.all() if each["username"] == "cleo"] == ["cleo@example.org"]
    # Back again: a disabled user is enabled, not made anew.
    result = review(access.service([user("ana", "ADMIN"), user("cleo", "VIEWER"), user("bert", "ANALYST")]))
    assert result["status"] == "ok", result["outcomes"]
    assert access.users() == {"ana": "ADMIN", "cleo": "VIEWER", "bert": "ANALYST"}


def test_k5_drift_is_told(access, review):
    for name, role in (("ana", "ADMIN"), ("bert", "ADMIN"), ("cleo", "ANALYST"), ("dora", "VIEWER")):
        access.add(name, role)
    # Dora logs in; nobody else ever did.
    key = access.process.admin("POST", "/auth/api-keys", {"name": "dora", "owner": "dora", "role": "VIEWER"}).body[
        "key"
    ]
    assert access.process.call("GET", "/api/v1/whoami", token=key).status == 200
    service = access.service(
        [user("ana", "ADMIN"), user("dora", "VIEWER")], admins=1, roles=["ADMIN", "VIEWER"], ignore=["system"]
    )
    service["idle"] = "0.001s"
    result = review(service)
    found = said(result)
    assert not result["changed"]
    assert found["app:bert"][0] == "warning"
    assert "is not in the inventory, and is ADMIN" in found["app:bert"][1]
    assert "which is none that is allowed" in found["app:cleo"][1]
    assert "2 of them, more than 1: ana, bert" in found["app:ADMINs"][1]
    assert "never a login, made" in found["app:ana"][1]
    assert "no login for" in found["app:dora"][1]
    assert "access:app" in result["outcomes"][0]["subject"]
    assert result["outcomes"][0]["status"] == "warning"
    assert access.users() == {"ana": "ADMIN", "bert": "ADMIN", "cleo": "ANALYST", "dora": "VIEWER"}
    service["idle"] = "90d"
    assert "login" not in said(review(service)).get("app:dora", ("", ""))[1]


def test_no_more_than_the_limits_and_then_nothing_with_the_plan(access, review):
    for name in ("ana", "bert", "cleo", "dora"):
        access.add(name, "ADMIN" if name == "ana" else "VIEWER")
    before = access.users()
    service = access.service([user("ana", "ADMIN")], unlisted="disable", limits={"users": 2, "percent": 100})
    result = review(service)
    assert not result["changed"]
    assert result["status"] == "critical"
    assert (
        "3 changes, more than limits.users, 2; planned: disable bert, disable cleo, disable dora"
        in said(result)["app"][1]
    )
    assert "more than limits.percent" in said(review({**service, "limits": {"users": 10, "percent": 20}}))["app"][1]
    assert access.users() == before


@pytest.mark.parametrize("how", ["disabled", "demoted", "unlisted", "acts as", "acts as unlisted"])
def test_neither_the_last_admin_nor_the_account_it_acts_as_goes(access, review, how):
    access.add("ana", "ADMIN")
    access.add("bert", "VIEWER")
    service = access.service([user("bert", "VIEWER")])
    if how == "disabled":
        service["users"].append({"name": "ana", "state": "disabled"})
    elif how == "demoted":
        service["users"].append(user("ana", "VIEWER"))
    elif how == "unlisted":
        service["unlisted"] = "disable"
    elif how == "acts as":
        access.add("dora", "ADMIN")
        service.update(acts_as="ana", users=[user("ana", "VIEWER"), user("dora", "ADMIN"), user("bert")])
    else:
        service.update(acts_as="bert", users=[user("ana", "ADMIN")], unlisted="disable")
    before = access.users()
    result = review(service)
    assert not result["changed"]
    assert access.users() == before
    if how == "acts as unlisted":
        assert "is the account that this acts as" in said(result)["app:bert"][1]
    else:
        assert result["status"] == "critical"
        assert (
            "no ADMIN would be left" in said(result)["app"][1]
            or "ana is the account that this acts as" in said(result)["app"][1]
        )


def test_a_new_admin_is_there_before_the_last_one_goes(access, review):
    access.add("ana", "ADMIN")
    result = review(access.service([user("zoe", "ADMIN"), {"name": "ana", "state": "disabled"}]))
    assert result["status"] == "ok", result["outcomes"]
    assert access.users() == {"zoe": "ADMIN"}


def test_a_disabled_admin_comes_back_with_the_new_role_and_never_the_old_one(access, review, wire):
    row = access.add("ana", "ADMIN")
    access.add("bert", "ADMIN")
    access.process.admin("PUT", f"/auth/users/{row}/disable")
    way = wire(lambda line, number: None)
    result = review(access.service([user("ana", "VIEWER"), user("bert", "ADMIN")], url=way.url))
    assert result["status"] == "ok", result["outcomes"]
    assert [line.split()[1].rpartition("/")[2] for line in way.requests if line.startswith("PUT")] == ["role", "enable"]
    assert access.users() == {"ana": "VIEWER", "bert": "ADMIN"}


def test_the_api_goes_down_in_the_middle(access, review, wire):
    """What was done is told, what was not is not tried, and the next run ends it."""
    access.add("ana", "ADMIN")
    access.add("bert")
    down = [True]
    way = wire(lambda line, number: b"" if down[0] and number > 2 else None)
    service = access.service(
        [user("ana", "ADMIN"), user("clemens"), user("doris"), {"name": "bert", "state": "disabled"}], url=way.url
    )
    result = review(service)
    assert result["status"] == "critical"
    assert result["changed"]
    assert access.users() == {"ana": "ADMIN", "bert": "VIEWER", "clemens": "VIEWER"}
    assert "closed without an answer" in said(result)["app"][1]
    down[0] = False
    result = review(service)
    assert result["status"] == "ok"
    assert access.users() == {"ana": "ADMIN", "clemens": "VIEWER", "doris": "VIEWER"}


def test_a_change_that_fails_keeps_what_comes_after_it(access, review, wire):
    access.add("ana", "ADMIN")
    way = wire(
        lambda line, number: b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" if line.startswith("POST") else None
    )
    result = review(access.service([user("zacharias", "ADMIN"), {"name": "ana", "state": "disabled"}], url=way.url))
    assert result["status"] == "critical"
    assert not result["changed"]
    assert "answered 500" in said(result)["app:zacharias"][1]
    assert "an earlier change failed" in said(result)["app:ana"][1]
    assert access.users() == {"ana": "ADMIN"}


def test_a_wrong_token_is_told_and_nothing_is_shown_of_it(access, review):
    access.add("ana", "ADMIN")
    result = review(access.service([user("cleo")], headers={"Authorization": "Bearer canary-0123456789"}))
    assert result["status"] == "unknown"
    assert not result["changed"]
    assert "answered 401, expected 200. Check the credentials in headers" in said(result)["app"][1]
    assert "canary" not in str(result)


def test_an_answer_without_a_body_is_no_empty_list_and_no_proof(access, review, wire):
    access.add("ana", "ADMIN")
    listing = wire(lambda line, number: EMPTY if line.startswith("GET") else None)
    result = review(access.service([user("ana", "ADMIN"), user("clara")], url=listing.url))
    assert result["status"] == "unknown"
    assert "answered 200 without a list" in said(result)["app"][1]
    assert [line for line in listing.requests if not line.startswith("GET")] == []
    making = wire(lambda line, number: EMPTY if line.startswith("POST") else None)
    result = review(access.service([user("ana", "ADMIN"), user("clara")], url=making.url))
    assert result["status"] == "critical"
    assert not result["changed"]
    assert "the service does not list it so" in said(result)["app:clara"][1]


def test_lists_of_pages_are_read_to_their_end_or_not_at_all(access, review, wire):
    for number in range(7):
        access.add(f"user{number}", "ADMIN" if number == 0 else "VIEWER")
    users = [user(f"user{number}", "ADMIN" if number == 0 else "VIEWER") for number in range(7)]
    paged = {"path": "/auth/users?page=1&per_page=2", "items": "items", "next": "next"}
    result = review(access.service(users, list=paged))
    assert result["status"] == "ok", result["outcomes"]
    assert not result["changed"]
    broken = wire(lambda line, number: EMPTY if "page=3" in line else None)
    result = review(access.service(users, list=paged, url=broken.url, unlisted="disable"))
    assert result["status"] == "unknown"
    assert "without a list at items" in said(result)["app"][1]
    text = b'{"items": [], "next": "%s"}'

    def answer(place):
        body = text % place
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    circle = wire(lambda line, number: answer(b"/auth/users?page=1&per_page=2"))
    assert "go in a circle" in said(review(access.service(users, list=paged, url=circle.url)))["app"][1]
    elsewhere = wire(lambda line, number: answer(b"http://192.0.2.1/users"))
    assert "must not get the headers" in said(review(access.service(users, list=paged, url=elsewhere.url)))["app"][1]


def test_failed_logins_by_account_from_log_scan(access, review):
    access.add("ana", "ADMIN")
    outcomes = [
        {
            "subject": "rule:failed accounts",
            "details": {"rule": "failed accounts", "by": "account", "top": {"ana": 30, "root": 900}},
        },
        {"subject": "rule:other", "details": {"rule": "other", "top": {"ana": 1}}},
    ]
    service = access.service([user("ana", "ADMIN")], failures={"rules": ["failed accounts"]})
    result = review(service, log_outcomes=outcomes)
    assert said(result)["app:ana"] == ("warning", "30 failed login(s)")
    assert result["outcomes"][0]["metrics"]["login_failures"] == 930
    assert result["outcomes"][0]["metrics"]["login_failures_unknown_accounts"] == 900
    assert "log_scan has no result" in said(review(service))["app:logins"][1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"name": "a b"}, "services[0].name: 'a b' is no name"),
        ({"acts_as": None, "unlisted": "disable"}, "services.app.acts_as"),
        ({"role": {"path": "/auth/users/role", "body": {"role": "{role}"}}}, "does not say which user"),
        ({"create": {"path": "/auth/users"}}, "services.app.create.body"),
        ({"disable": None, "unlisted": "disable"}, "services.app.disable"),
        ({"users": [{"name": "ana"}]}, "services.app.users[0].role"),
        ({"users": [{"name": "ana", "role": "KING"}], "roles": ["ADMIN"]}, "is no allowed role"),
        ({"idle": "soon"}, "services.app.idle"),
        ({"url": "ftp://x"}, "url: 'ftp://x'"),
        ({"acts_as": "ana", "users": [{"name": "ana", "state": "disabled"}]}, "is the account that this acts as"),
        ({"limits": {"users": -1}}, "services.app.limits.users"),
    ],
)
def test_options_that_cannot_be_used_are_refused(access, review, more, told):
    service = {name: value for name, value in access.service(**more).items() if value is not None}
    result = review(service)
    assert result["failed"]
    assert told in result["msg"]
