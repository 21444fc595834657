# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider http (K2): keys through the admin API of the reference application, and through APIs that misbehave."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError


def api(url, token):
    """The options for the admin API of the reference application."""
    return {
        "type": "http",
        "url": url,
        "headers": {"Authorization": f"Bearer {token}"},
        "create": {
            "path": "/auth/api-keys",
            "body": {"name": "{label}", "owner": "{name}", "role": "ANALYST", "expires_in_days": 90},
        },
        "revoke": {"path": "/auth/api-keys/{id}"},
        "list": {"path": "/auth/api-keys"},
    }


@contextlib.contextmanager
def answering(answers):
    """A service that gives these (status, JSON) one after the other; yields its address and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            asked.append((self.command, self.path))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, document = answers.pop(0)
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - called by these names

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_k2_a_key_is_made_and_revoked_by_the_admin_api(application, provider):
    module, options, work = provider(**api(application.url, application.token))
    first, second = module.create(options, work), module.create(options, work)
    assert application.call("GET", "/api/v1/whoami", token=first.value).status == 200
    assert abs(first.expires - time.time() - 90 * 86400) < 30
    known = {each.id: each for each in module.observe(options, work)}
    assert known[first.id].label == work.label
    assert abs(known[first.id].created - time.time()) < 30
    assert not known[first.id].revoked
    module.revoke(options, first.id, work)
    assert application.call("GET", "/api/v1/whoami", token=first.value).status == 401
    assert application.call("GET", "/api/v1/whoami", token=second.value).status == 200
    assert {each.id: each.revoked for each in module.observe(options, work)}[first.id]
    module.revoke(options, first.id, work)
    module.revoke(options, "999999", work)
    module.revoke(options, second.id, work)


@pytest.mark.parametrize("document", [{"id": 7}, {"id": 7, "key": ""}, {"id": 7, "key": None}, {"id": 7, "key": 12345}])
def test_an_answer_200_without_a_key_is_an_error_and_what_it_made_is_revoked(provider, document):
    with answering([(200, document), (204, None), (200, [])]) as (url, asked):
        module, options, work = provider(**api(url, "canary-token"))
        with pytest.raises(RunbookError, match="answered without a key at 'key'") as caught:
            module.create(options, work)
    assert asked == [("POST", "/auth/api-keys"), ("DELETE", "/auth/api-keys/7"), ("GET", "/auth/api-keys")]
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [(200, {"key": "canary-value"}), (200, {}), (200, None), (302, {"key": "canary-value"}), (500, {})]
)
def test_other_answers_that_are_of_no_use(provider, answer):
    with answering([answer]) as (url, asked):
        module, options, work = provider(**api(url, "canary-token"))
        with pytest.raises(RunbookError, match="answered") as caught:
            module.create(options, work)
    assert asked == [("POST", "/auth/api-keys")]
    assert "canary" not in str(caught.value)


def test_a_revoked_key_that_is_still_listed_as_active_is_told(provider):
    with answering([(204, None), (200, [{"id": 7, "name": "x", "revoked_at": None}])]) as (url, _asked):
        module, options, work = provider(**api(url, "t"))
        with pytest.raises(RunbookError, match="lists it as active"):
            module.revoke(options, "7", work)


def test_a_service_that_is_down_is_told_by_its_address(provider):
    with answering([]) as (url, _asked):
        pass
    module, options, work = provider(**api(url, "canary-token"))
    with pytest.raises(RunbookError, match=f"{url}.*refused"):
        module.create(options, work)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"url": "ftp://host"}, "url"),
        ({"create": {"path": "auth"}}, "keys.reporting.provider.create.path"),
        ({"create": {"path": "/a b"}}, "keys.reporting.provider.create.path"),
        ({"revoke": {"path": "/auth/api-keys"}}, "keys.reporting.provider.revoke.path"),
        ({"timeout": "soon"}, "keys.reporting.provider.timeout"),
    ],
)
def test_options_of_an_api_that_cannot_be_used(provider, given, option):
    with pytest.raises(InputError) as caught:
        provider(**{**api("http://127.0.0.1:1", "t"), **given})
    assert caught.value.option == option
