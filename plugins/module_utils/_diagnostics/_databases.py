# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is common to the collectors of databases: one after the other, and who waits for whom."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError
from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import NothingHere

if t.TYPE_CHECKING:
    from ansible_collections.sre.runbooks.plugins.module_utils._core.entries import Item
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._settings import Settings
    from ansible_collections.sre.runbooks.plugins.module_utils._diagnostics._work import Work

# A server that does not answer a question in this time is not asked longer.
SECONDS = 10.0
ROWS = 500


def names(engine: str, settings: Settings) -> list[str]:
    """The databases of an engine."""
    return [item.name for item in settings.databases if item.engine_name == engine]


def each(work: Work, ask: t.Callable[[Work, Item], None]) -> None:
    """Ask every database of this engine; one that does not answer keeps no other from it."""
    items = work.items()
    if not items:
        raise NothingHere(f"databases has no entry with the engine {work.name}")
    work.attempt([functools.partial(_named, work, item, ask) for item in items])


def _named(work: Work, item: Item, ask: t.Callable[[Work, Item], None]) -> None:
    try:
        ask(work, item)
    except RunbookError as error:
        # The class stays, which tells why.
        error.args = (f"{item.name}: {error}",)
        raise


def sections(
    work: Work, item: Item, asked: t.Mapping[str, t.Callable[[], list[dict[str, t.Any]]]]
) -> dict[str, list[dict[str, t.Any]]]:
    """Ask one after the other, write each answer as a part, and give all back.

    The first that fails ends it: a server that refuses one question for want of a right answers the others, so that is
    told in its part; one that cannot be reached answers none.
    """
    answers: dict[str, list[dict[str, t.Any]]] = {}
    problems = []
    for name, ask in asked.items():
        try:
            with work.part(f"{work.name}/{item.name}/{name}.jsonl") as part:
                answers[name] = ask()
                part.rows(answers[name])
                if len(answers[name]) >= ROWS:
                    part.note(f"the first {ROWS} rows")
        except RunbookError as error:
            work.left()
            if not answers:
                raise
            problems.append(f"{name}: {error}")
    if problems:
        with work.part(f"{work.name}/{item.name}/refused.txt") as part:
            part.text("\n".join(problems))
    return answers


def chains(waits: t.Mapping[int, t.Sequence[int]], tell: t.Callable[[int], str]) -> list[str]:
    """Who waits for whom, as a tree from those on that wait for nobody; `waits` maps a session to those that block it."""
    blocks: dict[int, list[int]] = {}
    for waiting, blockers in waits.items():
        for blocker in dict.fromkeys(blockers):
            blocks.setdefault(blocker, []).append(waiting)
    roots = [each for each in blocks if not waits.get(each)]
    # Only a deadlock that nobody has ended yet has no beginning.
    told: list[str] = []
    seen: set[int] = set()
    for root in [*sorted(roots), *sorted(blocks)]:
        if root not in seen:
            _branch(root, 0, blocks, tell, told, seen)
    return told


def _branch(
    session: int,
    depth: int,
    blocks: t.Mapping[int, list[int]],
    tell: t.Callable[[int], str],
    told: list[str],
    seen: set[int],
) -> None:
    again = session in seen
    told.append(f"{'    ' * depth}{'blocks ' if depth else ''}{tell(session)}{' (see above)' if again else ''}")
    seen.add(session)
    if not again and depth < 50:
        for waiting in sorted(blocks.get(session, ())):
            _branch(waiting, depth + 1, blocks, tell, told, seen)
