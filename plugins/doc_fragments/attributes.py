# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes that the collection's modules declare."""

from __future__ import annotations


class ModuleDocFragment:
    """What all modules share; C(check_mode) and C(diff_mode) support is stated by each module."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and say what it would do, without changing anything.
  diff_mode:
    description: Returns the plan as a difference in diff mode.
  platform:
    description: The operating systems that it works on.
    platforms: posix
    support: full
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/sre.runbooks.all) in C(module_defaults) to set options for all modules of the collection.
    support: full
    membership:
      - sre.runbooks.all
"""

    # A virtual module, whose whole work is an action.
    CONTROLLER = r"""
options: {}
attributes:
  action:
    description: Has an action that runs on the controller.
    support: full
  bypass_host_loop:
    description: Runs once for all hosts of the play.
    support: full
  connection:
    description: Connects to hosts.
    support: none
"""
