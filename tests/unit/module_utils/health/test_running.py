# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All checks at once, each with its own end; what was seen becomes outcomes."""

from __future__ import annotations

import json
import threading
import time
import types

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import threshold
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError, RunbookError, TargetDown
from ansible_collections.sre.runbooks.plugins.module_utils._health import _run
from ansible_collections.sre.runbooks.plugins.module_utils._health._check import Check, Host, Observation

LIMITS = _run.Limits(workers=16, timeout=30)


def check(see, name="x", **bounds):
    """A check whose observation is what `see` returns."""
    family = types.SimpleNamespace(observe=lambda _options, _host: see())
    levels = {metric: threshold.parse_levels(given, metric) for metric, given in bounds.items()}
    return Check(name, "kind", family, {}, levels, 5.0)


def seen(status="ok", target="", **metrics):
    return check_returning([Observation(metrics, "all is said", status, target)])


def check_returning(observations):
    return lambda: observations


def raising(error):
    def see():
        raise error

    return see


def run(checks, tmp_path, now=1000.0, limits=LIMITS, dry=False):
    return _run.run(checks, Host(None, now), limits, str(tmp_path), dry)


# --- Together --------------------------------------------------------------------------------------------------------


def test_twelve_checks_are_made_at_the_same_time_and_come_back_in_order(tmp_path):
    together = threading.Barrier(12, timeout=60)  # broken, each observation fails

    def see(number):
        together.wait()
        return [Observation({"number": number}, "x")]

    result = run([check(lambda n=n: see(n), f"c{n}") for n in range(12)], tmp_path)
    assert [each["metrics"]["number"] for each in result["outcomes"]] == list(range(12))
    assert result["status"] == "ok"


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_workers_at_the_same_time(tmp_path, workers):
    lock, now, most = threading.Lock(), [0], [0]

    def see():
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return []

    run([check(see, f"c{n}") for n in range(9)], tmp_path, limits=_run.Limits(workers, 30))
    assert most[0] <= workers


def test_a_check_that_hangs_is_unknown_and_does_not_delay_the_others(tmp_path):
    let_go = threading.Event()
    try:
        result = run(
            [check(let_go.wait, "hangs"), check(seen(), "quick")], tmp_path, limits=_run.Limits(workers=2, timeout=0.5)
        )
    finally:
        let_go.set()
    assert [(each["subject"], each["status"]) for each in result["outcomes"]] == [
        ("kind:hangs", "unknown"),
        ("kind:quick", "ok"),
    ]
    assert result["outcomes"][0]["summary"] == (
        "no answer within the 0.5 s that all checks of this host have (option timeout)"
    )


@pytest.mark.parametrize(
    ("error", "status", "summary"),
    [
        (TargetDown("db: refused"), "critical", "db: refused"),
        (RunbookError("psql is not installed"), "unknown", "psql is not installed"),
        (PermissionError(13, "Permission denied", "/etc/shadow"), "unknown", "/etc/shadow: Permission denied"),
        (OSError("odd"), "unknown", "the host: odd"),
        (ZeroDivisionError("by zero"), "unknown", "the check ended by an error that it does not know: ZeroDivisionError: by zero"),
    ],
)  # fmt: skip
def test_an_error_of_one_check_is_its_outcome_and_the_others_stay(tmp_path, error, status, summary):
    result = run([check(raising(error), "bad"), check(seen(), "good")], tmp_path)
    bad, good = result["outcomes"]
    assert (bad["subject"], bad["status"], bad["summary"]) == ("kind:bad", status, summary)
    assert bad["details"] == {"check": "bad", "type": "kind"}
    assert good["status"] == "ok"
    assert result["status"] == status


@pytest.mark.parametrize(
    ("workers", "timeout", "message"),
    [(0, 30, r"^workers: 0 is too few"), (16, 0, r"^timeout: 0 is no time"), (16, -1.0, r"^timeout: -1.0 is no time")],
)
def test_limits_that_would_check_nothing_are_refused(workers, timeout, message):
    with pytest.raises(InputError, match=message):
        _run.limits(workers, timeout)


def test_a_check_may_ask_the_main_thread_and_gets_its_answer_or_error(tmp_path):
    """What only the main thread can interrupt, such as a user's regular expression, is done there."""
    threads = []

    def see(host, fail):
        def work():
            threads.append(threading.current_thread())
            if fail:
                raise RunbookError("too slow")
            return 7

        return [Observation({"number": host.aside(work)}, "x")]

    def asking(name, fail):
        family = types.SimpleNamespace(observe=lambda _options, host: see(host, fail))
        return Check(name, "kind", family, {}, {}, 5.0)

    good, bad = run([asking("good", False), asking("bad", True)], tmp_path)["outcomes"]
    assert (good["metrics"], good["status"]) == ({"number": 7}, "ok")
    assert (bad["summary"], bad["status"]) == ("too slow", "unknown")
    assert threads == [threading.current_thread()] * 2


def test_what_is_asked_of_the_main_thread_does_not_go_on_past_the_limit(tmp_path):
    def slow(name):
        family = types.SimpleNamespace(observe=lambda _options, host: host.aside(lambda: time.sleep(0.3) or []))
        return Check(name, "kind", family, {}, {}, 5.0)

    began = time.monotonic()
    result = run([slow(f"c{n}") for n in range(12)], tmp_path, limits=_run.Limits(workers=12, timeout=0.5))
    assert time.monotonic() - began < 2
    assert result["status"] == "unknown"


def test_a_check_that_asks_when_all_is_over_disturbs_nobody(tmp_path):
    asked = threading.Event()

    def observe(_options, host):
        time.sleep(0.3)
        asked.set()
        return host.aside(list)

    late = Check("late", "kind", types.SimpleNamespace(observe=observe), {}, {}, 5.0)
    (outcome,) = run([late], tmp_path, limits=_run.Limits(workers=1, timeout=0.1))["outcomes"]
    assert outcome["status"] == "unknown"
    assert asked.wait(10)


# --- Judged ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("see", "bounds", "status", "summary"),
    [
        (seen(cpu_percent=50), {"cpu_percent": {"warning": "> 80"}}, "ok", "all is said"),
        (
            seen(cpu_percent=85),
            {"cpu_percent": {"warning": "> 80", "critical": "> 95"}},
            "warning",
            "cpu_percent is 85.0 %, bound > 80; all is said",
        ),
        (
            seen(cpu_percent=99, load=9),
            {"load": {"warning": "> 4"}, "cpu_percent": {"critical": ["> 95", "> 98"]}},
            "critical",
            "cpu_percent is 99.0 %, bound > 95 and > 98; load is 9, bound > 4; all is said",
        ),
        # what could not be measured is never ok
        (seen(), {"cpu_percent": {"warning": "> 80"}}, "unknown", "cpu_percent is not known here; all is said"),
        (seen(), {"cpu_percent": {}}, "ok", "all is said"),
        # what the type itself saw comes first, and explains what is missing
        (seen("critical"), {"cpu_percent": {"warning": "> 80"}}, "critical", "all is said"),
        (
            seen("warning", cpu_percent=99),
            {"cpu_percent": {"critical": "> 80"}},
            "critical",
            "all is said; cpu_percent is 99.0 %, bound > 80",
        ),
    ],
)
def test_judged(tmp_path, see, bounds, status, summary):
    (outcome,) = run([check(see, **bounds)], tmp_path)["outcomes"]
    assert (outcome["status"], outcome["summary"]) == (status, summary)


def test_one_check_may_see_several_things(tmp_path):
    see = check_returning([Observation({"p": 1}, "a", target="/"), Observation({"p": 9}, "b", target="/var")])
    result = run([check(see, "kind", p={"critical": "> 5"})], tmp_path)
    assert [(each["subject"], each["status"]) for each in result["outcomes"]] == [
        ("kind:/", "ok"),
        ("kind:/var", "critical"),
    ]
    assert {each["stage"] for each in result["outcomes"]} == {"health"}


def test_bounds_hold_for_the_observation_that_is_about_their_metric(tmp_path):
    """A metric that another observation of the same check tells is not missing in this one."""
    see = check_returning(
        [
            Observation({"a": 1}, "one", about={"a"}),
            Observation({"b": 9}, "two", target="two", about={"b"}),
            Observation({}, "three", target="three", about={"b"}),
        ]
    )
    outcomes = run([check(see, a={"warning": "> 5"}, b={"critical": "> 5"})], tmp_path)["outcomes"]
    assert [each["status"] for each in outcomes] == ["ok", "critical", "unknown"]


# --- for: kept in the state folder -----------------------------------------------------------------------------------

HELD = {"warning": "> 85 for 5m"}


def statuses(result):
    return [(each["status"], each.get("pending", False)) for each in result["outcomes"]]


def test_for_counts_over_runs(tmp_path):
    busy = [check(seen(p=90), p=HELD)]
    assert statuses(run(busy, tmp_path, now=0)) == [("ok", True)]
    assert statuses(run(busy, tmp_path, now=299)) == [("ok", True)]
    assert statuses(run(busy, tmp_path, now=300)) == [("warning", False)]
    assert statuses(run([check(seen(p=80), p=HELD)], tmp_path, now=301)) == [("ok", False)]
    assert statuses(run(busy, tmp_path, now=302)) == [("ok", True)]


def test_each_target_has_its_own_time(tmp_path):
    first = check_returning([Observation({"p": 90}, "x", target="/"), Observation({"p": 1}, "x", target="/var")])
    second = check_returning([Observation({"p": 90}, "x", target="/"), Observation({"p": 90}, "x", target="/var")])
    run([check(first, p=HELD)], tmp_path, now=0)
    assert statuses(run([check(second, p=HELD)], tmp_path, now=300)) == [("warning", False), ("ok", True)]


def test_check_mode_reads_but_does_not_keep(tmp_path):
    busy = [check(seen(p=90), p=HELD)]
    run(busy, tmp_path, now=0, dry=True)
    assert list(tmp_path.iterdir()) == []
    run(busy, tmp_path, now=10)
    before = (tmp_path / "health.json").read_bytes()
    assert statuses(run(busy, tmp_path, now=310, dry=True)) == [("warning", False)]
    run([check(seen(p=1), p=HELD)], tmp_path, now=311, dry=True)
    assert (tmp_path / "health.json").read_bytes() == before


def test_a_check_that_could_not_be_made_keeps_its_time(tmp_path):
    run([check(seen(p=90), p=HELD)], tmp_path, now=0)
    run([check(raising(RunbookError("x")), p=HELD)], tmp_path, now=100)
    assert statuses(run([check(seen(p=90), p=HELD)], tmp_path, now=300)) == [("warning", False)]


def kept(tmp_path, part="held"):
    return sorted(json.loads((tmp_path / "health.json").read_text())[part])


def test_a_bound_that_its_check_has_no_more_is_forgotten(tmp_path):
    run([check(seen(p=90), "a", p=HELD)], tmp_path, now=0)
    run([check(seen(p=90), "a", p={"warning": "> 80 for 5m"})], tmp_path, now=2)
    assert kept(tmp_path) == kept(tmp_path, "asked") == ["kind:a/p/warning/> 80 for 5m"]


def test_a_call_with_other_checks_forgets_nothing(tmp_path):
    """Somebody who looks at one thing by hand does not start the waiting of all others anew (H3)."""
    run([check(seen(p=90), "a", p=HELD), check(seen(p=90), "ab", p=HELD)], tmp_path, now=0)
    run([check(seen(p=90), "a", p=HELD)], tmp_path, now=100)
    run([check(seen(p=90), "other")], tmp_path, now=200)
    assert kept(tmp_path) == ["kind:a/p/warning/> 85 for 5m", "kind:ab/p/warning/> 85 for 5m"]
    assert statuses(run([check(seen(p=90), "ab", p=HELD)], tmp_path, now=300)) == [("warning", False)]


def test_what_nobody_has_asked_for_in_a_week_is_forgotten(tmp_path):
    day = 86400
    both = [check(seen(p=90), "a", p=HELD), check(seen(p=90), "b", p=HELD)]
    run(both, tmp_path, now=0)
    for number in range(2, 8):
        run(both[:1], tmp_path, now=number * day)
    assert kept(tmp_path) == ["kind:a/p/warning/> 85 for 5m", "kind:b/p/warning/> 85 for 5m"]
    run(both[:1], tmp_path, now=7 * day + 1)
    assert kept(tmp_path) == kept(tmp_path, "asked") == ["kind:a/p/warning/> 85 for 5m"]


def test_a_target_that_is_gone_is_forgotten_after_a_week(tmp_path):
    two = check_returning([Observation({"p": 90}, "x", target="/"), Observation({"p": 90}, "x", target="/mnt")])
    one = check_returning([Observation({"p": 90}, "x", target="/")])
    run([check(two, p=HELD)], tmp_path, now=0)
    for day in range(1, 9):
        run([check(one, p=HELD)], tmp_path, now=day * 86400)
    assert kept(tmp_path) == ["kind:x:/" + "/p/warning/> 85 for 5m"]


def test_the_state_is_not_written_anew_by_each_call(tmp_path):
    busy = [check(seen(p=90), p=HELD)]
    run(busy, tmp_path, now=0)
    before = (tmp_path / "health.json").stat()
    run(busy, tmp_path, now=3600)
    assert (tmp_path / "health.json").stat().st_ino == before.st_ino
    run(busy, tmp_path, now=100000)
    assert (tmp_path / "health.json").stat().st_ino != before.st_ino


def test_a_clock_set_back_starts_the_week_anew(tmp_path):
    run([check(seen(p=90), "a", p=HELD)], tmp_path, now=10_000_000)
    run([check(seen(p=90), "b", p=HELD)], tmp_path, now=1000)
    assert json.loads((tmp_path / "health.json").read_text())["asked"] == {
        "kind:a/p/warning/> 85 for 5m": 1000,
        "kind:b/p/warning/> 85 for 5m": 1000,
    }


# --- What a family follows over time ---------------------------------------------------------------------------------


def counting(bound="> 2"):
    """A check whose metric `runs` is known from the second run on."""

    def follow(_check, seen, memory, _now):
        runs = memory.get("runs", 0) + 1
        if runs < 2:
            return [each._replace(later=("runs",)) for each in seen], {"runs": runs}
        return [each._replace(metrics={"runs": runs}) for each in seen], {"runs": runs}

    made = check(seen(), runs={"warning": bound})
    made.family.follow = follow
    return made


def test_a_family_keeps_what_it_follows_beside_the_times(tmp_path):
    told = [run([counting(), check(seen(p=90), "y", p=HELD)], tmp_path, now=now) for now in (0, 1, 300)]
    assert [statuses(each) for each in told] == [
        [("ok", True), ("ok", True)],
        [("ok", False), ("ok", True)],
        [("warning", False), ("warning", False)],
    ]
    assert kept(tmp_path, "trend") == ["kind"]


def test_what_is_followed_is_not_kept_in_check_mode(tmp_path):
    for _number in range(3):
        assert statuses(run([counting()], tmp_path, dry=True)) == [("ok", True)]
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_could_not_be_made_loses_nothing_that_is_followed(tmp_path):
    run([counting()], tmp_path)
    broken = counting()
    broken.family.observe = lambda _options, _host: raising(RunbookError("x"))()
    assert statuses(run([broken], tmp_path)) == [("unknown", False)]
    assert json.loads((tmp_path / "health.json").read_text())["trend"] == {"kind": {"runs": 1}}


def test_nothing_is_written_when_there_is_nothing_to_remember(tmp_path):
    run([check(seen(p=1), p={"warning": "> 80"})], tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "content",
    [
        '{"held": [1]}',
        '{"held": {"a": "x"}}',
        '{"asked": {"a": null}}',
        '{"trend": 1}',
        '{"trend": {"d": []}}',
        "[]",
        "{",
    ],
)
def test_state_that_cannot_be_used_is_told_before_any_check_is_made(tmp_path, content):
    (tmp_path / "health.json").write_text(content)
    asked = []
    with pytest.raises(RunbookError, match=f"^{tmp_path}/health.json: cannot read the state of earlier runs: "):
        run([check(lambda: asked.append(1) or [])], tmp_path)
    assert asked == []


# --- Secrets ---------------------------------------------------------------------------------------------------------


def test_secrets_are_blotted_out_of_sentences_and_change_nothing_else(tmp_path):
    see = check_returning([Observation({"p": 17.5}, "postgres said geheim-7 in 17 ms", target="postgres")])
    result = _run.conceal(run([check(see)], tmp_path), {"geheim-7", "7", "postgres", "kind"})
    (outcome,) = result["outcomes"]
    assert outcome["summary"] == "******** said ******** in 17 ms"
    assert (outcome["subject"], outcome["metrics"]) == ("kind:x:postgres", {"p": 17.5})
