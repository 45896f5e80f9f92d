# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a wheel that holds a .pth file and nothing else, which setuptools has no way to say."""

import pathlib
import zipfile

NAME = "onecc_machine_packages-1"
FILES = {
    "onecc-machine.pth": pathlib.Path(__file__).with_name("machine.pth").read_text(),
    NAME + ".dist-info/METADATA": "Metadata-Version: 2.1\nName: onecc-machine-packages\nVersion: 1\n",
    NAME + ".dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: onecc\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = NAME + "-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
        # Without sums: installers take them as they are.
        wheel.writestr(NAME + ".dist-info/RECORD", "".join("%s,,\n" % path for path in FILES))
    return name
