# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions that users write: clear refusals, and an end to catastrophic backtracking (L1, faults)."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import pattern
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError

ENDLESS = r"^(a+)+$"
TEXT = "a" * 60 + "b"


@pytest.mark.parametrize("text", ["(", "*", "", None, 3, "(?P<x>a)(?P<x>b)", "a{99999999999}", "[z-a]"])
def test_no_expression_is_refused_by_name(text):
    with pytest.raises(InputError, match=r"rules\[x\]\.pattern: .* is no regular expression"):
        pattern.compiled(text, "rules[x].pattern")


def test_a_missing_group_is_named():
    with pytest.raises(InputError, match="has no group named value"):
        pattern.compiled(r"took (\d+)", "pattern", groups=["value"])
    assert "value" in pattern.compiled(r"took (?P<value>\d+)", "pattern", groups=["value"]).groupindex


def test_catastrophic_backtracking_ends_and_names_option_and_pattern():
    began = time.monotonic()
    with pytest.raises(pattern.TooSlow, match=r"rules\[x\]: '\^\(a\+\)\+\$' took more than 0\.2 s") as caught:
        pattern.search(re.compile(ENDLESS), TEXT, "rules[x]", 0.2)
    assert time.monotonic() - began < 5
    assert caught.value.option == "rules[x]"
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_what_lies_outside_of_matches_has_no_limit():
    with pattern.Watch(0.05) as watch:
        for _number in range(20):
            watch.begin("x", "a")
            re.search("a", "a")
            watch.end()
            time.sleep(0.02)
        time.sleep(0.3)


def test_another_match_has_its_own_time():
    with pattern.Watch(0.1) as watch:
        for _number in range(10):
            watch.begin("x", "a")
            time.sleep(0.05)
            watch.end()
        watch.begin("slow", ENDLESS)
        with pytest.raises(pattern.TooSlow, match="slow"):
            re.search(ENDLESS, TEXT)


def test_in_a_thread_there_is_no_limit_and_no_error():
    found: list[re.Match[str] | None] = []
    thread = threading.Thread(target=lambda: found.append(pattern.search(re.compile("b"), TEXT, "x")))
    thread.start()
    thread.join()
    assert found[0] is not None


def test_a_timer_of_somebody_else_stays():
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        assert pattern.search(re.compile("b"), TEXT, "x")
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 90
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
