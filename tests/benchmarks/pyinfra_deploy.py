# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pyinfra asks to learn what health.yml learns: fifteen shell commands."""

from __future__ import annotations

from pyinfra.operations import server

DATABASE = "/var/lib/feature11/feature11.db"
COMMANDS = {
    "CPU": "cat /proc/loadavg",
    "Memory": "free --bytes",
    "Disk": "df --output=pcent /",
    "Process": "pgrep --full run_server",
    "Service": "systemctl is-active feature11",
    "Services of the servers": "systemctl is-active postgresql@15-main redis-server",
    "Port of the API": "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8000'",
    "Port of Redis": "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/6379'",
    "Health": "curl --silent --fail --max-time 5 http://127.0.0.1:8000/health",
    "Business metrics": "curl --silent --fail --max-time 5 http://127.0.0.1:8000/api/v1/metrics",
    "SQLite": f"sqlite3 -cmd '.timeout 5000' {DATABASE} 'PRAGMA quick_check'",
    "PostgreSQL": "runuser -u postgres -- psql -AtX bench -c 'SELECT count(*) FROM pg_stat_activity'",
    "Redis": "redis-cli info",
    "Settings": "stat --format=%s /opt/feature11/.env",
    "Newest copy": "ls -t /var/backups/sre-runbooks/reference/feature11 | head -1",
}

for name, command in COMMANDS.items():
    server.shell(name=name, commands=[command], _sudo=True)
