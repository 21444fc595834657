# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations, sizes and quantities as people write them, and back."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._core import units
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (0.25, 0.25),
        ("90", 90),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("5m", 300),
        (" 2 h ", 7200),
        ("30d", 2592000),
        ("1w", 604800),
        ("0", 0),
        ("1e3", 1000),
    ],
)
def test_duration(text, seconds):
    assert units.duration(text, "timeout") == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        (1024, 1024),
        ("10B", 10),
        ("10kB", 10_000),
        ("10MB", 10_000_000),
        ("2GB", 2 * 10**9),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("1.5 GiB", 1610612736),
        ("3MiB", 3145728),
        ("1TiB", 2**40),
    ],
)
def test_size(text, amount):
    assert units.size(text, "limit") == amount


@pytest.mark.parametrize(
    ("text", "number"), [("85 %", 85), ("85%", 85), ("-3", -3), (".5", 0.5), ("1000 ms", 1), ("10 MiB", 10485760)]
)
def test_quantity_takes_any_unit_and_ignores_the_percent_sign(text, number):
    assert units.quantity(text, "limit") == pytest.approx(number)


@pytest.mark.parametrize(
    "text", ["", "m", "5 minutes", "5M", "5mm", "nan", "inf", "1e999", None, True, [], "-5m", "5m 3s"]
)
def test_no_duration(text):
    with pytest.raises(InputError) as caught:
        units.duration(text, "checks[0].timeout")
    message = str(caught.value)
    assert message.startswith(f"checks[0].timeout: {text!r} is ")
    assert message.endswith(".")
    assert caught.value.option == "checks[0].timeout"


@pytest.mark.parametrize("text", ["ten", "10 mib", "10 s", "-1", True, "1e999GiB"])
def test_no_size(text):
    with pytest.raises(InputError, match=r"^limit: "):
        units.size(text, "limit")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("size_bytes", 148060123, "141.2 MiB"),
        ("size_bytes", 512, "512 B"),
        ("size_bytes", 3 * 2**40, "3.0 TiB"),
        ("age_seconds", 0.0042, "4 ms"),
        ("age_seconds", 5.4, "5.4 s"),
        ("age_seconds", 3600, "60.0 min"),
        ("age_seconds", 5 * 3600, "5.0 h"),
        ("age_seconds", 30 * 86400, "30.0 d"),
        ("used_percent", 91.25, "91.2 %"),
        ("conflicts", 12, "12"),
        ("utilization", 0.3333333, "0.333333"),
    ],
)
def test_show_gives_a_metric_the_unit_of_its_suffix(metric, value, text):
    assert units.show(metric, value) == text
