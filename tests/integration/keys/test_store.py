# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider store (K1): keys in a table that a service reads, in all three engines."""

from __future__ import annotations

import hashlib
import time

import pytest
from reference_app.process import Process

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError

HOSTILE = 'it\'s "odd" \\ `name`;\n-- ü'


def whoami(application, value):
    return application.call("GET", "/api/v1/whoami", token=value).status


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request, tmp_path_factory):
    """The reference application with its keys in SQLite and in PostgreSQL, and the options that reach them."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        with Process(folder) as process:
            yield process, {"engine": "sqlite", "path": str(process.database)}
        return
    server = request.getfixturevalue("postgresql_server")
    database = server.create_database()
    with Process(folder, database_url=f"{server.url(database)}") as process:
        reach = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
        yield process, {"engine": "postgresql", "database": database, **reach}
    server.psql(f'DROP DATABASE "{database}" WITH (FORCE)')


def test_k1_a_key_is_made_read_by_the_service_and_revoked(service, provider):
    application, reach = service
    module, options, work = provider(type="store", role="ANALYST", prefix="ra_", expires_in="90d", **reach)
    first, second = module.create(options, work), module.create(options, work._replace(label=HOSTILE))
    assert len(first.value) >= len("ra_") + 43
    assert abs(first.expires - time.time() - 90 * 86400) < 30
    assert whoami(application, first.value) == whoami(application, second.value) == 200
    known = {each.id: each for each in module.observe(options, work)}
    assert [known[each.id].label for each in (first, second)] == [work.label, HOSTILE]
    assert not known[first.id].revoked
    assert abs(known[first.id].expires - first.expires) < 0.01
    assert abs(known[first.id].created - time.time()) < 30
    # The service itself reads what was written, and tells who that is.
    told = {str(each["id"]): each for each in application.admin("GET", "/auth/api-keys").body}
    assert (told[first.id]["role"], told[first.id]["owner"]) == ("ANALYST", "reporting")
    module.revoke(options, first.id, work)
    assert (whoami(application, first.value), whoami(application, second.value)) == (401, 200)
    module.revoke(options, first.id, work)
    module.revoke(options, "999999", work)
    module.revoke(options, second.id, work)
    assert whoami(application, second.value) == 401
    assert all(each.revoked for each in module.observe(options, work) if each.id in (first.id, second.id))


def test_k1_a_table_of_ones_own_with_permissions_and_states(mariadb_server, mariadb_database, provider):
    def sql(text):
        return mariadb_server.sql(f"SET NAMES utf8mb4;\n{text};", mariadb_database)

    sql(
        "CREATE TABLE `the keys` (id bigint AUTO_INCREMENT PRIMARY KEY, digest char(128), title varchar(80), who varchar(40), "
        "may text, made bigint, ends bigint, state varchar(10))"
    )
    columns = {
        "hash": "digest", "label": "title", "owner": "who", "role": "", "permissions": "may", "created": "made",
        "expires": "ends", "revoked": "", "state": "state",
    }  # fmt: skip
    server = mariadb_server
    module, options, work = provider(
        type="store", engine="mysql", host=server.host, port=server.port, user=server.user, password=server.password,
        database=mariadb_database, table="the keys", columns=columns, owner=HOSTILE, permissions=["read", "write"],
        hash="sha512", times="epoch",
    )  # fmt: skip
    new = module.create(options, work)
    found = sql("SELECT digest, may, state, made, ends FROM `the keys`").split("\t")
    assert found[0] == hashlib.sha512(new.value.encode()).hexdigest()
    assert found[1:3] == ['["read", "write"]', "active"]
    assert int(found[4]) - int(found[3]) == 180 * 86400
    assert sql("SELECT hex(who) FROM `the keys`").strip() == HOSTILE.encode().hex().upper()
    (known,) = module.observe(options, work)
    assert (known.id, known.label, known.revoked) == (new.id, work.label, False)
    module.revoke(options, new.id, work)
    assert module.observe(options, work)[0].revoked
    assert sql("SELECT state FROM `the keys`").strip() == "revoked"


def test_a_table_that_keeps_a_revoked_key_alive_is_told(service, provider):
    application, reach = service
    if reach["engine"] == "postgresql":
        reach = {**reach, "table": "no_such_table"}
        module, options, work = provider(type="store", **reach)
        with pytest.raises(RunbookError, match="no_such_table"):
            module.create(options, work)
        return
    module, options, work = provider(type="store", role="VIEWER", **reach)
    new = module.create(options, work)
    import sqlite3

    with sqlite3.connect(application.database) as connection:
        connection.execute(
            "CREATE TRIGGER keep AFTER UPDATE ON api_keys WHEN NEW.revoked_at IS NOT NULL "
            "BEGIN UPDATE api_keys SET revoked_at = NULL WHERE id = NEW.id; END"
        )
    with pytest.raises(RunbookError, match="still active"):
        module.revoke(options, new.id, work)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"bytes": 16}, "bytes"),
        ({"prefix": "a b"}, "prefix"),
        ({"columns": {"hash": ""}}, "columns.hash"),
        ({"columns": {"revoked": "", "state": ""}}, "columns"),
        ({"permissions": ["read"]}, "permissions"),
        ({"path": None}, "path"),
        ({"path": "keys.db"}, "path"),
        ({"engine": "postgresql"}, "database"),
        ({"expires_in": "soon"}, "expires_in"),
    ],
)
def test_options_of_a_store_that_cannot_be_used(provider, given, option):
    with pytest.raises(InputError) as caught:
        provider(**{"type": "store", "engine": "sqlite", "path": "/var/lib/keys.db", **given})
    assert caught.value.option == f"keys.reporting.provider.{option}"
