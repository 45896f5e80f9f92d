# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ports of Ray answer to who has a certificate, who has none, and who speaks without TLS.

Runs on a node: ADDRESS FOLDER PORT..., the folder with the certificates of Ray. Prints how each try ended, as JSON.
"""

import json
import socket
import ssl
import sys

# What an HTTP/2 client begins with: a server without TLS sends its settings in answer to this.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = bytes([4])


def over_tls(address, port, folder, certificate):
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(folder + "/tls.crt", folder + "/tls.key")
    with (
        socket.create_connection((address, port), 10) as plain,
        context.wrap_socket(plain, server_hostname=address) as stream,
    ):
        return "answered" if stream.recv(1) else "closed"


def without_tls(address, port):
    with socket.create_connection((address, port), 10) as plain:
        plain.sendall(PREFACE)
        return "answered" if plain.recv(9)[3:4] == SETTINGS else "closed"


def ended(attempt, *words):
    try:
        return attempt(*words)
    except OSError as error:
        return repr(error)


def main():
    address, folder = sys.argv[1:3]
    told = {}
    for port in map(int, sys.argv[3:]):
        told["%d without" % port] = ended(over_tls, address, port, folder, False)
        told["%d with" % port] = ended(over_tls, address, port, folder, True)
        told["%d plain" % port] = ended(without_tls, address, port)
    print(json.dumps(told))


main()
