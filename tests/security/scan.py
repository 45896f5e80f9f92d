# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which TCP ports of some hosts answer: a program that needs nothing but Python.

Usage: scan.py FIRST LAST ADDRESS...
"""

import asyncio
import json
import sys

AT_ONCE = 2000
TIMEOUT = 1


async def is_open(address, port):
    try:
        _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT)
    except ConnectionRefusedError:
        return False
    except (TimeoutError, asyncio.TimeoutError):
        return False
    writer.close()
    return True


async def scan(address, ports):
    """The ports that answer."""
    waiting, found = iter(ports), []

    async def work():
        for port in waiting:
            if await is_open(address, port):
                found.append(port)

    await asyncio.gather(*[work() for _number in range(AT_ONCE)])
    return sorted(found)


async def main(first, last, addresses):
    found = await asyncio.gather(*[scan(address, range(first, last + 1)) for address in addresses])
    print(json.dumps(dict(zip(addresses, found, strict=True))))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
