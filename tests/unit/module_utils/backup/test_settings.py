# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users write for a backup, read and refused (contracts.md)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _settings
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

DEFAULTS = {
    "directory": "/b", "interval": None, "verify": "restored", "retention": None, "compression": None, "limits": None,
    "minimum_size": None, "shrink_limit": 50.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], r"sources: \[\] names nothing"),
        ([{"engine": "sqlite", "path": "/x"}], r"sources\[0\]\.name: None is no name"),
        ([{"name": "../x", "engine": "sqlite", "path": "/x"}], r"sources\[0\]\.name: '\.\./x' is no name"),
        ([{"name": ".x", "engine": "sqlite", "path": "/x"}], "is no name"),
        (
            [{"name": "x", "engine": "oracle"}],
            r"sources\.x\.engine: 'oracle' is no engine\. Use one of files, .*sqlite",
        ),
        ([{"name": "x"}], r"sources\.x\.engine: None is no engine"),
        ([{"name": "x", "engine": "sqlite"}], r"sources\.x \(engine sqlite\): missing required arguments: path"),
        (
            [{"name": "x", "engine": "sqlite", "path": "/x", "pth": 1}],
            r"Unsupported parameters: pth|pth\. Supported parameters include",
        ),
        ([{"name": "x", "engine": "sqlite", "path": "x.db"}], r"sources\.x\.path: 'x\.db' is no absolute path"),
        ([{"name": "x", "engine": "files", "paths": []}], r"sources\.x\.paths: \[\] names nothing"),
        ([{"name": "x", "engine": "files", "paths": ["etc"]}], "is no absolute path"),
        ([{"name": "x", "engine": "files", "paths": ["/etc/.."]}], "is the whole file system"),
        ([{"name": "x", "engine": "postgresql", "port": "many"}], "many"),
        (
            [{"name": "x", "engine": "postgresql", "database": "host=evil"}],
            r"sources\.x\.database: 'host=evil' is no name",
        ),
        (
            [{"name": "x", "engine": "sqlite", "path": "/x"}, {"name": "x", "engine": "files", "paths": ["/y"]}],
            "'x' is used twice",
        ),
    ],
)
def test_sources_that_cannot_be_used(sources, message):
    with pytest.raises(RunbookError, match=message):
        _settings.items(sources)


def test_a_database_is_called_as_its_source_and_passwords_are_known_as_secrets():
    items, secrets = _settings.items([{"name": "app", "engine": "postgresql", "password": "hidden"}])
    assert items[0].source["database"] == "app"
    assert items[0].subject == "postgresql:app"
    assert secrets == {"hidden"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"directory": "/"}, "directory: '/' is no place for backups"),
        ({"directory": "relative"}, "is no place for backups"),
        ({"interval": "soon"}, "interval: 'soon' is no duration"),
        ({"shrink_limit": 101.0}, r"shrink_limit: 101\.0 is no share"),
        ({"minimum_size": "big"}, "minimum_size: 'big' is no size"),
        ({"limits": {"bytes": "big"}}, r"limits\.bytes: 'big' is no size"),
        ({"limits": {"seconds": "0s"}}, r"limits\.seconds: '0s' is no time"),
        ({"compression": {"algorithm": "zstd", "level": 99}}, r"compression\.level: 99 is no level of zstd"),
        ({"compression": {"algorithm": "gzip", "level": 0}}, r"compression\.level: 0 is no level of gzip"),
        ({"retention": {}}, "retention: {} keeps nothing"),
        ({"retention": {"keep_daily": 0, "minimum_verified": 3}}, "keeps nothing"),
        ({"retention": {"keep_daily": -1}}, r"retention\.keep_daily: -1 is negative"),
        (
            {"retention": {"keep_daily": 1, "minimum_verified": 0}},
            r"retention\.minimum_verified: 0 would let the last good copy go",
        ),
        ({"retention": {"keep_within": "long"}}, r"retention\.keep_within: 'long' is no duration"),
    ],
)
def test_options_that_cannot_be_used(changes, message):
    with pytest.raises(RunbookError, match=message):
        _settings.settings({**DEFAULTS, **changes})


def test_what_is_not_given_has_its_default():
    settings = _settings.settings(DEFAULTS)
    assert settings.policy == _settings.Policy(keep_daily=30, minimum_verified=1)
    assert settings.packing == ("zstd", 3, ())
    assert settings.interval is None


def test_units_are_read():
    limits = {"bytes": "1GiB", "seconds": "2h"}
    settings = _settings.settings(
        {**DEFAULTS, "interval": "20h", "limits": limits, "minimum_size": "10kB", "shrink_limit": 100.0}
    )
    assert settings.interval == 72000
    assert (settings.limit_bytes, settings.limit_seconds) == (2**30, 7200)
    assert settings.minimum_size == 10000
    assert settings.shrink_limit is None
    assert _settings.policy({"keep_last": 2, "keep_within": "7d"}) == _settings.Policy(keep_last=2, keep_within=604800)
