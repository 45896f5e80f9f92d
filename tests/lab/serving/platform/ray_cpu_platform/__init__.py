# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vLLM platform: the stock CPU platform, allowed to run on Ray across nodes.

Stock vLLM refuses Ray on CPUs because no Ray resource stands for one. Here the resource is "GPU",
a logical count given to ``ray start --num-gpus``, so that everything which schedules, counts and
shows GPUs is the code that runs on real ones.
"""


def register() -> str:
    """Entry point of the group ``vllm.platform_plugins``: names the platform class."""
    return "ray_cpu_platform.platform.RayCpuPlatform"
