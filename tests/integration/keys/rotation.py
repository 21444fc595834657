# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of the role in its order, without ansible-playbook: fast enough to be killed at every single step.

Hosts are states of their own in one process; what goes from host to host goes through the filters that the role uses.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time

from ansible.module_utils.testing import patch_module_args

from ansible_collections.sre.runbooks.plugins.module_utils._core import command, web
from ansible_collections.sre.runbooks.plugins.modules import rotating_key
from ansible_collections.sre.runbooks.plugins.plugin_utils import keys

SAID = ("status", "clear", "create", "distribute", "prove", "promote", "rollback", "revoke")


class Hostvars(dict):
    """What the filters need of ansible-core's."""

    def raw_get(self, host):
        return self[host]


class Rotation:
    """One run over a fleet; `before` is called with each stage and host, and says no to leave that host out."""

    def __init__(self, fleet, before=lambda stage, host: True, **options):
        self.fleet, self.before, self.options = fleet, before, options
        self.said = Hostvars({host: {} for host in fleet.all_hosts})
        self.run = f"run-{os.urandom(4).hex()}"

    def call(self, host, part, name, stage, **more):
        arguments = {
            "keys": part, "stage": stage, "run": self.run, "actor": "tests", "state_dir": str(self.fleet.home(host) / "state"),
            **self.options, **more,
        }  # fmt: skip
        output = io.StringIO()
        with patch_module_args(arguments), contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            rotating_key.main()
        self.said[host][name] = json.loads(output.getvalue())
        assert "outcomes" in self.said[host][name], self.said[host][name]

    def go(self):  # noqa: C901 - as many stages as there are
        """Do all stages; return the outcomes by host, joined as the role does."""
        groups = {"all": list(self.fleet.all_hosts), "users": list(self.fleet.HOSTS)}
        parts = {host: keys.parts([self.fleet.key], host, groups) for host in self.fleet.all_hosts}

        def each(name, stage, wanted, arguments=lambda host: {}):
            for host, part in parts.items():
                if wanted(host, part) and self.before(name, host):
                    self.call(host, part, name, stage, **arguments(host))

        def orders(host, said=SAID, what="facts"):
            return keys.orders(parts[host], self.said, said, what)

        def told(host):
            return {"orders": orders(host)}

        def heard(host):
            return {"reports": keys.reports(parts[host], self.said, SAID)}

        def makes(host, part):
            return any("provider" in key for key in part)

        def uses(host, part):
            return any(key["consumers"] for key in part)

        def given_up(host, part):
            return uses(host, part) and any(
                (key.get("pending") or {}).get("abandoned") for key in orders(host).values()
            )

        def brought(host, part):
            return uses(host, part) and bool(orders(host, ["create"], "made"))

        each("status", "status", lambda host, part: bool(part))
        each("clear", "rollback", given_up, told)
        each("create", "create", makes, heard)
        each(
            "distribute", "distribute", brought, lambda host: {**told(host), "values": orders(host, ["create"], "made")}
        )
        each("prove", "prove", uses, told)
        each("promote", "promote", lambda host, part: "made" in self.said[host].get("create", {}), heard)
        each("rollback", "rollback", given_up, told)
        each("revoke", "revoke", makes, heard)
        each("dead", "prove_dead", uses, told)
        return {host: keys.outcomes(said.values()) for host, said in self.said.items()}


def statuses(outcomes):
    """The worst status of each host."""
    return {
        host: max((each["status"] for each in found), key=RANKS.index, default=None) for host, found in outcomes.items()
    }


RANKS = ["ok", "skipped", "unknown", "warning", "critical"]


def forked(work):
    """Do `work` in a process of its own, with no end of pytest's; return its id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - told to whoever waits, by the exit status
        sys.__stderr__.write(f"{error!r}\n")
        os._exit(1)
    os._exit(0)


def deadly(steps):
    """Kill this process, by SIGKILL, at the step of that number: before each renaming, removal, request and command.

    To be killed after a step is to be killed before the next one: nothing lasts of what happens in between.
    """
    count = [0]

    def step():
        count[0] += 1
        if count[0] == steps:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def around(function):
        def stepped(*arguments, **more):
            step()
            return function(*arguments, **more)

        return stepped

    os.replace, os.unlink = around(os.replace), around(os.unlink)
    command.Commands.run = around(command.Commands.run)  # type: ignore[method-assign]
    ask = web.ask

    @contextlib.contextmanager
    def asked(*arguments, **more):
        step()
        with ask(*arguments, **more) as answer:
            yield answer

    web.ask = asked
