# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings. build.py brings the pages together."""

from __future__ import annotations

from docutils import nodes

project = "onecc.vllm"
html_title = "onecc.vllm"
author = "the onecc.vllm authors"
copyright = "2026, the onecc.vllm authors"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_enable_extensions = ["colon_fence"]
# Headings can be linked to, as on a repository's host.
myst_heading_anchors = 3
nitpicky = True
default_role = "any"

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": "https://github.com/onecc/ansible-collection-vllm/",
    "source_branch": "main",
    "top_of_page_buttons": [],
    # Fonts of the reader's system: nothing is fetched from elsewhere.
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"},
    # The reference's tables follow the theme's switch; on their own they are light.
    "dark_css_variables": {
        "antsibull-table-background-header": "#48484b",
        "antsibull-table-background-even": "#1c1c1e",
        "antsibull-table-background-odd": "#242426",
        "antsibull-table-border": "#656569",
        "antsibull-narrowtable-background": "#48484b",
        "antsibull-option-type": "#ff93ff",
        "antsibull-option-elements": "#ff93ff",
        "antsibull-option-required": "#ff8282",
        "antsibull-option-version-added": "#71d471",
        "antsibull-option-aliases": "#71d471",
        "antsibull-option-default": "#adadff",
        "antsibull-option-sample": "#adadff",
        "antsibull-option-sample-header": "#fff",
        "antsibull-attribute-support-none": "#ff8282",
        "antsibull-attribute-support-partial": "#b6b600",
        "antsibull-attribute-support-full": "#0c0",
    },
}
highlight_language = "yaml+jinja"


# What the reference names of Ansible's own documentation, which is not at hand offline.
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
    "ansible_collections.ansible.builtin.debug_module": "collections/ansible/builtin/debug_module.html",
}


def link_outside(_app, _env, node, contnode):
    """Plain links instead of references; any other is a warning."""
    if node["reftarget"] in LABELS:
        return nodes.reference("", "", contnode, refuri=ANSIBLE + LABELS[node["reftarget"]], internal=False)
    # Settings of Ansible itself.
    if node["reftype"] == "envvar" and node["reftarget"].startswith("ANSIBLE_"):
        uri = ANSIBLE + LABELS["ansible_configuration_settings"] + "#envvar-" + node["reftarget"]
        return nodes.reference("", "", contnode, refuri=uri, internal=False)
    return None


def setup(app):
    app.connect("missing-reference", link_outside)
    return {"parallel_read_safe": True}
