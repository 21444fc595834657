# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the site, after those that `antsibull-docs sphinx-init` writes."""

import re
import typing as t
import zlib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
# What the documentation of plugins refers to in Ansible's own; given here, so that a build asks nobody.
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
LABELS = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}

project = "sre.runbooks"
copyright = "2026, sre.runbooks contributors"  # noqa: A001 - Sphinx's name
title = html_short_title = "sre.runbooks"

extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
nitpicky = True
default_role = "any"
root_doc = "index"
# The index of variables of the environment: there are none.
exclude_patterns = ["collections/environment_variables.rst"]

# Headings are linked as GitHub does it; "console" output is no program text to be parsed.
myst_heading_anchors = 4
myst_enable_extensions = ["strikethrough"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "sphinx_ansible_theme"
html_theme_options = {"show_extranav": False, "show_rtd_ethical_ads": False, "topbar_links": {}, "navigation_depth": 3}
html_show_sphinx = False
html_use_smartypants = False
html_use_modindex = False
html_use_index = False
html_copy_source = False

# The README of a role is made of what the page of the role is made of.
ROLE = re.compile(r"^((?:\.\./)*)roles/(\w+)/README\.md$")
REPOSITORY = "https://github.com/ansible-collections/sre.runbooks/tree/main/"
LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?\)")


def inventory() -> str:
    """Write the labels as Sphinx exchanges them, and return the file's path; it is the same always, or all would be read anew."""
    path = ROOT / ".work" / "site" / "ansible.inv"
    head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: \n# The remainder of this file is compressed using zlib.\n"
    lines = "".join(f"{name} std:label -1 {target} {name.replace('_', ' ')}\n" for name, target in LABELS.items())
    path.write_bytes(head + zlib.compress(lines.encode()))
    return str(path)


intersphinx_mapping = {"ansible": (ANSIBLE, inventory())}


def link_sources(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to files that are no pages of the site, such as inventories, lead to the repository.

    A link to what is not in the checkout either is left as it is: Sphinx warns of it.
    """
    folder = (ROOT / docname).parent

    def target(match: re.Match[str]) -> str:
        role = ROLE.match(match[2])
        if role:
            return f"{match[1]}{role[1]}collection/{role[2]}_role.rst)"
        path = folder / match[2]
        if (app.srcdir / docname).parent.joinpath(match[2]).resolve().is_file() or not path.exists():
            return match[0]
        return f"{match[1]}{REPOSITORY}{path.resolve().relative_to(ROOT)}{match[3] or ''})"

    if Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] = LINK.sub(target, source[0])


def home(_app: Sphinx, _page: str, _template: str, context: dict[str, t.Any], _tree: object) -> None:
    """Let the theme's title lead to the first page of the site, wherever the site lies."""
    context["theme_documentation_home_url"] = context["pathto"]("index")


def setup(app: Sphinx) -> None:
    """Entry point of Sphinx."""
    app.connect("source-read", link_sources)
    app.connect("html-page-context", home)
