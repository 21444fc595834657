# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data and logs of a system that has run for a while; the same number gives the same data."""

from __future__ import annotations

import os
import random
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from .access import ROLES
from .database import ALLOCATIONS, EVALUATIONS, PROJECTS, SYNC_RUNS, TASKS, USERS, WORKERS, Database, now
from .logs import SUFFIXES

SKILLS = ("electrical", "plumbing", "carpentry", "design", "planning")
WEEKLY_HOURS = 40.0
HISTORY_DAYS = 180
#: The week's plan of each worker, in hours a day: 82 % of 40.
DAILY_HOURS = 6.56


def seed_database(database: Database, tasks: int) -> None:
    """Add `tasks` tasks to an empty database, with projects, workers, users, a history of allocations and evaluations.

    A database that has tasks already is left as it is.
    """
    chance, moment = random.Random(tasks), now()
    with database.begin() as connection:
        if connection.execute(sa.select(sa.func.count()).select_from(TASKS)).scalar_one() or tasks < 1:
            return
        projects = [
            {"id": number, "code": f"PRJ{number:03}", "name": f"Project {number}", "created_at": moment}
            for number in range(1, tasks // 50 + 2)
        ]
        workers = [
            {
                "id": number,
                "name": f"Worker {number}",
                "skill": SKILLS[number % len(SKILLS)],
                "weekly_hours": WEEKLY_HOURS,
            }
            for number in range(1, 16)
        ]
        plan = [_task(chance, number, len(projects), moment) for number in range(1, tasks + 1)]
        users = [
            {
                "username": role.lower(),
                "email": f"{role.lower()}@example.org",
                "role": role,
                "disabled": False,
                "created_at": moment,
            }
            for role in ROLES
        ]
        connection.execute(PROJECTS.insert(), projects)
        connection.execute(WORKERS.insert(), workers)
        connection.execute(TASKS.insert(), plan)
        connection.execute(USERS.insert(), users)
        connection.execute(ALLOCATIONS.insert(), _allocations(chance, tasks, len(workers), moment))
        connection.execute(EVALUATIONS.insert(), [_evaluation(chance, number, moment) for number in range(tasks)])
        connection.execute(SYNC_RUNS.insert(), [{"finished_at": moment, "succeeded": True, "items": tasks}])
        if database.engine.dialect.name == "postgresql":
            for table in (PROJECTS, WORKERS, TASKS):
                sequence, highest = (
                    f"pg_get_serial_sequence('{table.name}', 'id')",
                    f"(SELECT max(id) FROM {table.name})",
                )
                connection.execute(sa.text(f"SELECT setval({sequence}, {highest})"))


def seed_logs(folder: Path, name: str, days: int) -> list[Path]:
    """Write one rotated main log a day for the last `days` days, each with its day's time stamps and change time."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for age in range(1, days + 1):
        day = datetime.now().astimezone() - timedelta(days=age)
        path = folder / f"{name}{SUFFIXES['main']}.{day:%Y-%m-%d}"
        text = f"{name}.performance - INFO - Monday.com sync completed in"
        lines = [f"{day:%Y-%m-%d} {hour:02}:00:00,000 - {text} 0.{hour:03}s (10 items)\n" for hour in range(24)]
        path.write_text("".join(lines), encoding="utf-8")
        os.utime(path, (time.time() - age * 86400,) * 2)
        written.append(path)
    return written


def _task(chance: random.Random, number: int, projects: int, moment: datetime) -> dict[str, Any]:
    return {
        "id": number,
        "project_id": 1 + number % projects,
        "title": f"Task {number}",
        "status": "done" if chance.random() < 0.5 else "open",
        "estimated_hours": float(chance.randint(2, 40)),
        "delay_risk": round(chance.uniform(0.05, 0.4), 3),
        "created_at": moment - timedelta(days=chance.randint(0, HISTORY_DAYS)),
    }


def _allocations(chance: random.Random, tasks: int, workers: int, moment: datetime) -> list[dict[str, Any]]:
    """This week's plan, within every worker's hours, and a history in which nine tasks of ten are allocated."""
    today = moment.replace(hour=8, minute=0, second=0, microsecond=0)
    rows = []
    for number in range(1, tasks + 1):
        if number % 10:
            day = today - timedelta(days=chance.randint(8, HISTORY_DAYS))
            rows.append(_allocation(number, 1 + number % workers, day, float(chance.randint(2, 8))))
    allocated = [number for number in range(1, tasks + 1) if number % 10] or [1]
    for worker in range(1, workers + 1):
        for age in range(5):
            task = allocated[(worker * 5 + age) % len(allocated)]
            rows.append(_allocation(task, worker, today - timedelta(days=age), DAILY_HOURS))
    return rows


def _allocation(task: int, worker: int, start: datetime, hours: float) -> dict[str, Any]:
    return {"task_id": task, "worker_id": worker, "start_date": start, "hours": hours, "created_date": start}


def _evaluation(chance: random.Random, number: int, moment: datetime) -> dict[str, Any]:
    return {
        "model": f"model-{1 + number % 3}",
        "status": "failed" if number % 50 == 49 else "succeeded",
        "correct": number % 20 != 7,
        "duration_seconds": round(chance.uniform(0.02, 0.07), 4),
        "created_at": moment - timedelta(minutes=number),
    }
