# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that keep Ray and the engine up. They run on the nodes, outside of Ansible.

``ray`` runs on every node and looks after that node's Ray container. ``engine`` runs on the head and looks after the
whole: it asks for real completions and starts the engine anew when they fail. Both answer GET requests and nothing
else: what a node is asked to do it reads at the head.
"""
