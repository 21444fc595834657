# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook sre.runbooks.rotate_keys with its role sre.runbooks.key_rotation and module sre.runbooks.rotating_key on four hosts (K2, K3).

The programs that use the key call the service all the time; the fixture `fleet` fails a test in which one call was refused.
"""

from __future__ import annotations


def test_k2_a_forced_rotation_ends_with_the_new_key_everywhere_and_the_old_one_in_its_overlap(fleet):
    told = fleet.force()
    (new,) = fleet.held()
    assert new != fleet.old["key"], told
    assert fleet.accepted(new)
    assert fleet.accepted(fleet.old["key"])
    assert new not in told
    journal = fleet.journal()
    assert journal["pending"] is None
    assert [each["id"] for each in journal["previous"]] == [str(fleet.old["id"])]
