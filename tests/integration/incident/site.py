# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook incident on hosts of this machine that are well when a file is there, and an HTTP service that people listen to."""

from __future__ import annotations

import http.server
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ansible_collections.sre.runbooks.plugins.test import reachable

COLLECTIONS = Path(reachable.__file__).parents[4]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
SECONDS = 180


class Site:
    """An inventory of one system with its runbook `flagged`; every host has a folder, and its actions write into `log` there."""

    def __init__(self, folder: Path, hosts: list[str], **variables: Any) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.hosts = hosts
        for name in hosts:
            (folder / name).mkdir()
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "runbooks_system": "F11",
            "site_mine": f"{folder}/{{{{ inventory_hostname }}}}",
            "runbooks_state_dir": "{{ site_mine }}/state",
            "runbooks_history_url": f"sqlite:///{folder}/history.db",
            "runbooks_checks_site": [self.check],
            "runbooks_incidents_site": [self.runbook()],
            "diagnostics_collect": ["resources"],
            "diagnostics_limits": {"reserve": "1MiB"},
            "diagnostics_directory": "{{ site_mine }}/bundles",
            "report_directory": f"{folder}/reports",
            **variables,
        }
        self.inventory = {"all": {"vars": given, "hosts": {name: {} for name in hosts}}}
        self.write()

    check: ClassVar[dict[str, Any]] = {
        "name": "well",
        "type": "file",
        "path": "{{ site_mine }}/well",
        "metrics": {"files": {"critical": "< 1"}},
    }

    @staticmethod
    def runbook(*actions: dict[str, Any]) -> dict[str, Any]:
        """The runbook of this site: by default one action that makes the host well."""
        use = [{"use": {"types": ["file"]}}]
        return {
            "name": "flagged", "title": "The flag is gone", "why": "Nobody sees it.", "detect": {"checks": use},
            "stabilise": list(actions or (Site.action("raise the flag", "touch well"),)), "verify": {"checks": use},
        }  # fmt: skip

    @staticmethod
    def action(name: str, command: str, **more: Any) -> dict[str, Any]:
        """An action that writes its name into the host's log, and then runs a command of the shell in the host's folder."""
        script = f"cd {{{{ site_mine }}}}; echo '{name}' >>log; {command}"
        return {
            "name": name, "action": "command", "argv": ["/bin/sh", "-ec", script], "wait": "0s",
            "guard": {"sick": [{"use": {"types": ["file"]}}]}, **more,
        }  # fmt: skip

    def write(self) -> None:
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(self.inventory, sort_keys=False), encoding="utf-8")

    def start(self, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """Start the playbook in a session of its own."""
        given = json.dumps({"incident_type": "flagged", **variables})
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment = {
            **kept, "HOME": str(self.home), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS.parent), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.folder / "ansible"), "ANSIBLE_LOCALHOST_WARNING": "false",
        }  # fmt: skip
        return subprocess.Popen(
            [str(ANSIBLE_PLAYBOOK), "-i", "hosts.yml", "sre.runbooks.incident", "--extra-vars", given, *arguments],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, **variables: Any) -> tuple[int, str]:
        """Run the playbook to its end; return its exit status and what it printed, as one line of words."""
        with self.start(*arguments, **variables) as process:
            output, _none = process.communicate(timeout=SECONDS)
        return process.returncode, " ".join(output.split())

    def log(self, host: str) -> list[str]:
        """The names of the actions that ran on the host, in order."""
        path = self.folder / host / "log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def is_well(self, host: str) -> bool:
        return (self.folder / host / "well").exists()

    def incidents(self) -> list[dict[str, Any]]:
        return self._rows("SELECT * FROM incidents ORDER BY number")

    def events(self, kind: str = "%", host: str = "%", stage: str = "%") -> list[dict[str, Any]]:
        """The time line of all incidents, as far as it is of a kind, a host, a stage."""
        sql = (
            "SELECT * FROM incident_events WHERE kind LIKE ? AND host LIKE ? AND stage LIKE ? ORDER BY incident, number"
        )
        return self._rows(sql, kind, host, stage)

    def _rows(self, sql: str, *given: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.folder / "history.db")
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, given)]
        finally:
            connection.close()


class Listener:
    """An HTTP service that takes messages as JSON, by path."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                heard.append((self.path, json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  as the base class names it
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/{name}"

    def paths(self) -> list[str]:
        return [path for path, _body in self.heard]
