# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which processes run what was replaced, and what is done about them (K8)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import replaced
from ansible_collections.sre.runbooks.plugins.module_utils._patching import _restart, _settings

GIVEN = {"programs": [], "restart_order": [], "restart_never": _settings.NEVER}


def test_maps_of_a_process():
    maps = """\
7f00-7f01 r--p 00000000 08:01 11 /usr/lib/libssl.so.3 (deleted)
7f01-7f02 r-xp 00001000 08:01 11 /usr/lib/libssl.so.3 (deleted)
7f02-7f03 r-xp 00000000 08:01 12 /usr/lib/libc.so.6
7f03-7f04 r--p 00000000 08:01 13 /usr/share/locale (deleted)
7f04-7f05 rwxp 00000000 00:05 14 /memfd:jit (deleted)
7f05-7f06 r-xp 00000000 00:05 15 /dev/shm/x (deleted)
7f06-7f07 r-xp 00000000 08:01 16 /tmp/ffi0a1b2c (deleted)
7f07-7f08 r-xp 00000000 08:01 17 /opt/a name/lib.so (deleted)
7f08-7f09 r-xp 00000000 00:00 0 [vdso]
"""
    assert replaced.replaced(maps) == ("/opt/a name/lib.so", "/usr/lib/libssl.so.3")
    assert replaced.replaced("") == ()


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n", "postgresql@15-main.service"),
        ("12:pids:/system.slice/cron.service\n1:name=systemd:/system.slice/cron.service\n", "cron.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", ""),
        ("0::/user.slice/user-0.slice/session-1.scope\n", ""),
        ("0::/init.scope\n", ""),
    ],
)
def test_the_service_of_a_process(group, unit):
    assert replaced.unit_of(group) == unit


def process(unit="", pid=10, name="x", command="x"):
    return replaced.Process(pid, name, command, unit, ("/usr/lib/libssl.so.3",))


def test_the_order_and_what_is_left_alone():
    seen = [
        process("nginx.service"), process("api.service"), process("nginx.service", 11), process("dbus.service"),
        process("redis-server.service"), process(name="bash"), process(pid=1, name="systemd"),
    ]  # fmt: skip
    given = {**GIVEN, "restart_order": ["redis*", "api.service"]}
    actions = _restart.plan(seen, given)
    assert [(each.name, bool(each.argv), each.held) for each in actions] == [
        ("redis-server.service", True, False),
        ("api.service", True, False),
        ("nginx.service", True, False),
        ("systemd", True, False),
        ("bash", False, False),
        ("dbus.service", False, True),
    ]
    assert actions[0].argv == ("systemctl", "restart", "redis-server.service")
    assert actions[3].argv == ("systemctl", "daemon-reexec")


def test_programs_come_before_units():
    programs = [{"name": "worker", "match": r"celery .*worker", "command": ["/opt/restart"]}]
    (action,) = _restart.plan([process("app.service", command="celery -A x worker")], {**GIVEN, "programs": programs})
    assert (action.name, action.argv) == ("worker", ("/opt/restart",))
