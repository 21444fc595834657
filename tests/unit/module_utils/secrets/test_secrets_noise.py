# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What looks like a secret and is none, and line numbers of staged pieces (K4)."""

from __future__ import annotations

import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._secrets import _engine, _noise, _rules, _staging

GOOD = "tr0" + "ub4Dor9"


@pytest.mark.parametrize(
    "line",
    [
        f"password={GOOD}", f"password: '{GOOD}'", f'{{"password": "{GOOD}"}}', f"url=postgres://a:{GOOD}@db/x", f"PASS={GOOD} psql",
        f'x["password"] = "{GOOD}",', f"login password={GOOD}",
    ],
)  # fmt: skip
def test_a_value_is_known_by_its_digest(line):
    assert _noise.value_of(line, _engine.sha1(GOOD)) == GOOD
    assert _noise.value_of(line, _engine.sha1("another")) is None


@pytest.mark.parametrize(
    "value",
    ["changeme", "${PASSWORD}", "{{ vault_password }}", "/run/secrets/password", "password", "settings.token", "aaaaaaaa", "your-key-here",
     "os.environ['X']", "get_secret('x')", "<password>", "scram-sha-256", "********"],
)  # fmt: skip
def test_examples_templates_paths_and_references_are_noise(value):
    assert _noise.is_noise(_noise.KEYWORD, value, f"password={value}", ".conf")


@pytest.mark.parametrize("value", [GOOD, "Abc.def12", "p4$$w0rd-of-x", "x/Y+z0123K=="])
def test_passwords_are_not(value):
    assert not _noise.is_noise(_noise.KEYWORD, value, f"password={value}", ".conf")


def test_a_poor_password_of_a_variable_is_one_all_the_same():
    assert not _noise.is_noise(_noise.KEYWORD, "correcthorse", "DB_PASSWORD=correcthorse", ".conf")
    assert _noise.is_noise(_noise.KEYWORD, "correcthorse", "# the password: correcthorse", ".conf")


def test_kinds_of_a_fixed_form_are_held_against_examples_alone():
    assert _noise.is_noise("AWS Access Key", "AKIAIOSFODNN7" + "EXAMPLE", "", ".conf")
    assert not _noise.is_noise("AWS Access Key", None, "", ".conf")


def test_hostile_lines_take_no_time():
    started = time.monotonic()
    for text in (
        "a" * 4000 + "!",
        "password=" + "a-" * 2000 + "!",
        "://" * 1300,
        "mysql " * 700,
        "'" * 4000,
        "--password" * 400,
    ):
        _noise.is_noise(_noise.KEYWORD, text, text, ".conf")
        _noise.value_of(text, "0")
        list(_rules.hits(text))
    assert time.monotonic() - started < 3


def test_lines_that_were_broken_keep_their_numbers():
    text = "short\n" + "x" * 10_000 + "\nlast\n"
    staged, continued = _staging._wrapped(text)
    piece = _staging.Piece("0.conf", None, 7, continued)
    lines = staged.split("\n")
    assert max(map(len, lines)) <= 4096
    assert [piece.line(number) for number in range(1, len(lines))] == [8, *[9] * (len(lines) - 3), 10]
    assert "".join(lines).count("x") >= 10_000


def test_what_is_made_to_be_found_is_made_anew_each_time():
    assert _engine.proof() != _engine.proof()
