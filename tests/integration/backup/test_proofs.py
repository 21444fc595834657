# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proof must be able to fail: copies whose content is not what their manifest says, though the checksum is (D4)."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _packing, _settings, _verify
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Work
from ansible_collections.sre.runbooks.plugins.module_utils._core import runbook
from ansible_collections.sre.runbooks.plugins.module_utils._core.command import Commands
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

from .conftest import copies, database


@pytest.fixture(params=["sqlite", "postgresql", "files"])
def source(request, tmp_path):
    path = database(tmp_path / "app.db")
    if request.param == "sqlite":
        return {"name": "x", "engine": "sqlite", "path": str(path)}
    if request.param == "files":
        return {"name": "x", "engine": "files", "paths": [str(path)]}
    server = request.getfixturevalue("postgresql_server")
    name = request.getfixturevalue("postgresql_database")
    server.psql("CREATE TABLE numbers (n int); INSERT INTO numbers SELECT generate_series(1, 20000)", name)
    place = {"host": str(server.socket_dir), "port": server.port, "user": server.user}
    return {"name": "x", "engine": "postgresql", "database": name, **place}


@pytest.fixture
def prove(source, store, one):
    """Make a copy, let `change` work on its manifest and its path, and prove it at `level`; return the record."""

    def go(level, change):
        assert one(source)["status"] == "ok"
        ((path, document),) = copies(store, "x")
        change(document, path)
        (item,), _secrets = _settings.items([source])
        with patch_module_args({}):
            module = runbook.build({})
        work = Work(Commands(module.run_command), _packing.choose("zstd", None), str(path.parent), "x", "token", level)
        record = _verify.prove(item.engine, item.source, str(path), document, work)
        assert copies(store, "x")[0][1]["verifications"][-1] == record
        assert not list(path.parent.glob(".*"))
        return record

    return go


def unchanged(document, path):
    pass


def another_figure(document, path):
    figures = document["figures"]
    if "files" in figures:
        figures["sha256"] = "0" * 64
    else:
        figures["tables"] = {name: rows + 1 for name, rows in figures["tables"].items()}


def cut(document, path):
    """The first half of the content, packed anew, with a checksum that fits."""
    content = subprocess.check_output(["zstd", "-dqc", str(path)])
    packed = subprocess.run(
        ["zstd", "-qc"], input=content[: len(content) // 2], stdout=subprocess.PIPE, check=True
    ).stdout
    path.write_bytes(packed)
    document.update(sha256=hashlib.sha256(packed).hexdigest(), size_bytes=len(packed))


@pytest.mark.parametrize("level", ["checksum", "archive", "restored"])
def test_a_good_copy_is_proven_again(prove, level):
    record = prove(level, unchanged)
    assert (record["level"], record["ok"]) == (level, True)


def test_a_restored_copy_that_differs_from_its_dump_fails(prove):
    record = prove("restored", another_figure)
    assert record["ok"] is False
    assert "differ" in record["figures"]["problem"]


@pytest.mark.parametrize("level", ["archive", "restored"])
def test_a_copy_that_was_cut_fails_though_its_checksum_fits(prove, level, postgresql_server):
    assert prove(level, cut)["ok"] is False
    assert postgresql_server.psql(r"SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\_runbooks%'") == "0"


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_an_extension_that_the_server_lacks_is_told_and_says_nothing_about_the_copy(prove):
    reason = r"the server does not have: no_such. Install postgresql-\d+-no-such on the server"
    with pytest.raises(RunbookError, match=reason):
        prove("restored", lambda document, path: document["figures"]["extensions"].update(no_such="1.0"))


@pytest.mark.parametrize("source", ["postgresql"], indirect=True)
def test_a_scratch_database_without_room_is_not_begun(prove, postgresql_server):
    """It would fill the disk of the server, which stands for all of its databases."""
    with pytest.raises(
        RunbookError, match=r"data: a scratch database of 1048576.0 TiB does not fit into the .* that are free"
    ):
        prove("restored", lambda document, path: document["figures"].update(database_bytes=1 << 60))
    assert postgresql_server.psql(r"SELECT count(*) FROM pg_database WHERE datname LIKE 'sre\_runbooks%'") == "0"
