# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine postgresql decides without a server: versions, extensions, and how a script of globals is read (D1, D4)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import (
    _postgresql_needs,
    _postgresql_scratch,
    _postgresql_session,
)
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError


@pytest.mark.parametrize(
    ("client", "server", "wanted"),
    [
        ("15.18", 150018, None),
        ("15.0", 150018, None),
        ("15", 150018, None),
        ("15.18", 160001, "16"),
        ("17.2", 130005, None),
        ("9.6.24", 100003, "10"),
        ("10.23", 90624, None),
        ("9.5.25", 90624, "9.6"),
        ("9.6.1", 90624, None),
    ],
)
def test_a_client_that_is_older_than_the_server_cannot_dump_it(client, server, wanted):
    assert _postgresql_session.needed_client(client, server) == wanted


PLAIN = {"user": "app", "superuser": False, "major": 15}
ROOT = {"user": "postgres", "superuser": True, "major": 15}


@pytest.mark.parametrize(
    ("needed", "offered", "server", "reason"),
    [
        ({}, {}, PLAIN, None),
        ({"plpgsql": "1.0"}, {"plpgsql": True}, PLAIN, None),
        ({"pg_trgm": "1.6"}, {"pg_trgm": False}, PLAIN, None),
        ({"pageinspect": "1.11"}, {"pageinspect": True}, ROOT, None),
        ({"pageinspect": "1.11"}, {"pageinspect": True}, PLAIN, "the user app may not CREATE EXTENSION pageinspect"),
        ({"hstore": "1.8"}, {}, ROOT, "does not have: hstore. Install postgresql-contrib on the server"),
        ({"postgis": "3.3"}, {}, ROOT, "Install postgresql-15-postgis-3 on"),
        ({"vector": "0.5"}, {}, ROOT, "Install postgresql-15-pgvector on"),
        ({"pg_cron": "1.5", "pg_partman": "4"}, {}, ROOT, "Install postgresql-15-cron, postgresql-15-partman on"),
    ],
)
def test_extensions_are_looked_for_before_a_restore(needed, offered, server, reason):
    if reason is None:
        _postgresql_needs.extensions(needed, offered, server)
        return
    with pytest.raises(RunbookError, match=reason.replace("(", r"\(")) as caught:
        _postgresql_needs.extensions(needed, offered, server)
    assert not isinstance(caught.value, Mismatch), "it says nothing about the copy"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        ('--\n-- User Config "it\'s"\n--\n\nSELECT 1;\n', ["SELECT 1;\n"]),
        ("\\restrict abc\nSET a = b;\n\\unrestrict abc\n", ["SET a = b;\n"]),
        ('CREATE ROLE "a;\n-- b";\nSELECT 2;\n', ['CREATE ROLE "a;\n-- b";\n', "SELECT 2;\n"]),
        ("COMMENT ON ROLE x IS 'it''s;\n\\! true\n';\n", ["COMMENT ON ROLE x IS 'it''s;\n\\! true\n';\n"]),
        ("COMMENT ON ROLE x IS E'\\\\;''\n';\nB;\n", ["COMMENT ON ROLE x IS E'\\\\;''\n';\n", "B;\n"]),
        ("ALTER ROLE \"'\" SET a TO '\"';\nB;\n", ["ALTER ROLE \"'\" SET a TO '\"';\n", "B;\n"]),
    ],
)
def test_a_script_is_cut_at_the_ends_of_its_statements(script, expected):
    found = _postgresql_scratch.statements(script.encode().splitlines(keepends=True))
    assert [each.decode() for each in found] == expected


@pytest.mark.parametrize(
    "script",
    [
        "SELECT 1 \\! true\n;\n",
        "SELECT 1\n\\! true\n;\n",
        "SELECT 'x;\n",
        "GRANT a TO b; DO 'x';\n",
        "GRANT a TO b; -- c;\n",
        "GRANT $$;\n$$ TO b;\n",
    ],
)
def test_what_pg_dumpall_does_not_write_is_refused(script):
    with pytest.raises(Mismatch):
        list(_postgresql_scratch.statements(script.encode().splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE ROLE postgres;\n", None),
        ('CREATE ROLE "postgres";\n', None),
        ("CREATE ROLE postgres2;\n", "CREATE ROLE postgres2;\n"),
        ("CREATE TABLESPACE a OWNER b LOCATION '/mnt/x';\n", "CREATE TABLESPACE a OWNER b LOCATION '';\n"),
        (
            "CREATE TABLESPACE \"a\nb\" OWNER b LOCATION '/it''s';\n",
            "CREATE TABLESPACE \"a\nb\" OWNER b LOCATION '';\n",
        ),
        (
            "CREATE TABLESPACE \"x LOCATION 'y'\" LOCATION E'/\\\\';\n",
            "CREATE TABLESPACE \"x LOCATION 'y'\" LOCATION '';\n",
        ),
        ("ALTER TABLESPACE a SET (random_page_cost='1');\n", "ALTER TABLESPACE a SET (random_page_cost='1');\n"),
    ],
)
def test_a_script_never_reaches_outside_its_scratch_cluster(statement, expected):
    found = _postgresql_scratch.adapted(statement.encode(), "postgres")
    assert found == (None if expected is None else expected.encode())


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE TABLESPACE a LOCATION $$/mnt/x$$;\n",
        b"CREATE TABLESPACE a LOCATION '/x' WITH (b = 'c');\n",
        b"COPY a TO PROGRAM 'b';\n",
        b"/**/ CREATE TABLESPACE a LOCATION '/x';\n",
        b"CREATE/**/TABLESPACE a LOCATION '/x';\n",
        b"ALTER SYSTEM SET archive_command = 'x';\n",
        b"DO 'x';\n",
    ],
)
def test_other_statements_are_refused(statement):
    with pytest.raises(Mismatch):
        _postgresql_scratch.adapted(statement, "postgres")
