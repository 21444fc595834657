# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets in texts of any shape: hidden, consistently, and the text stays what it was otherwise (I4)."""

from __future__ import annotations

import json

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics import _databases, _redact, _spool
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics.processes import command

S = "Zx9-canary"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"password={S} next", "password=<secret-1> next"),
        (f'{{"password": "{S}", "a": 1}}', '{"password": "<secret-1>", "a": 1}'),
        (f"Authorization: Bearer {S}", "Authorization: Bearer <secret-1>"),
        (f"postgresql://app:{S}@db:5432/app", "postgresql://app:<secret-1>@db:5432/app"),
        (f"mysqldump --password {S} shop", "mysqldump --password <secret-1> shop"),
        (f"ALTER ROLE a PASSWORD '{S}' VALID", "ALTER ROLE a PASSWORD '<secret-1>' VALID"),
        (f"requirepass {S}", "requirepass <secret-1>"),
        (f"curl -u admin:{S} http://x", "curl -u admin:<secret-1> http://x"),
        ("password=<secret-9>", "password=<secret-9>"),
        ("detect-secrets root", "detect-secrets root"),
        ("the passenger list", "the passenger list"),
        ("session opened for user root", "session opened for user root"),
    ],
)
def test_a_line(before, after):
    assert _redact.Redactor([], []).text(before) == after


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_json_stays_json_however_often_it_is_quoted(depth):
    inner = {"user": "x", "password": S, "more": {"api_key": S + "2", "note": f"token={S}3 end"}}
    text = json.dumps(inner)
    for _time in range(depth):
        text = json.dumps({"command": text, "kept": "yes"})
    shown = _redact.Redactor([], []).text(text)
    assert S not in shown
    value = json.loads(shown)
    assert value["kept"] == "yes"
    for _time in range(depth):
        value = json.loads(value["command"])
    assert value["user"] == "x"


def test_a_value_is_hidden_everywhere_once_it_is_known():
    redactor = _redact.Redactor(["given-secret"], [])
    first = redactor.block(b"bare Zx9-canary and given-secret\n", _redact.Keys())
    second = redactor.block(b"token: Zx9-canary\n", _redact.Keys())
    assert redactor.final(first) == b"bare <secret-2> and <secret-1>\n"
    assert redactor.final(second) == b"token: <secret-2>\n"


def test_a_private_key_goes_whatever_is_before_its_lines():
    redactor, keys = _redact.Redactor([], []), _redact.Keys()
    body = [f"{number:02}MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" for number in range(20)]
    lines = ["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----", "after"]
    whole = "".join(f"Nov 21 host app[1]: {line}\n" for line in lines).encode()
    shown = b"".join(redactor.block(part + b"\n", keys) for part in whole.split(b"\n")[:-1])
    assert b"MIIEv" not in shown
    assert shown.endswith(b"after\n")
    # The end of a log may begin in the middle of a key.
    rest = redactor.block(("\n".join([*body[10:], lines[-2], "after"]) + "\n").encode(), _redact.Keys())
    assert b"MIIEv" not in rest
    assert rest.endswith(b"after\n")


def test_a_key_without_an_end_takes_no_log_with_it():
    redactor, keys = _redact.Redactor([], []), _redact.Keys()
    shown = redactor.block(b"-----BEGIN PRIVATE KEY-----\n" + b"a line\n" * 1000, keys)
    assert shown.count(b"a line") > 800


def test_command_lines():
    def hide(value):
        return f"[{len(value)}]"

    assert command(["app", "--db-password", "abc", "-v"], hide) == "app --db-password [3] -v"
    assert command(["/usr/bin/mysql", "-pabc", "shop"], hide) == "/usr/bin/mysql -p[3] shop"
    assert command(["redis-cli", "-a", "abc", "PING"], hide) == "redis-cli -a [3] PING"
    assert command(["sshd", "-p", "22"], hide) == "sshd -p 22"
    assert command(["mysql", "--password", "--host=x"], hide) == "mysql --password --host=x"


def test_the_largest_part_loses_its_oldest_lines_first():
    spool = _spool.Spool(None, 4 * _spool.FILL)
    large, small = _spool.Part("large", "x"), _spool.Part("small", "x")
    spool.parts += [large, small]
    for number in range(40000):
        spool.add(large, b"%06d\n" % number * 3)
        if number == 100:
            spool.add(small, b"small\n")
            spool.end(small)
    spool.end(large)
    assert spool.used <= 4 * _spool.FILL
    assert b"".join(spool.read(small)) == b"small\n"
    kept = b"".join(spool.read(large))
    assert kept.endswith(b"039999\n")
    assert large.truncated
    assert large.dropped + len(kept) == 40000 * 21


def test_chains_of_locks():
    assert _databases.chains({2: [1], 3: [2, 1], 5: [4]}, str) == [
        "1", "    blocks 2", "        blocks 3", "    blocks 3 (see above)", "4", "    blocks 5",
    ]  # fmt: skip
    assert _databases.chains({1: [2], 2: [1]}, str) == ["1", "    blocks 2", "        blocks 1 (see above)"]
    assert _databases.chains({}, str) == []
