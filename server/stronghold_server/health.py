"""The health check of a container: ``python -m stronghold_server.health`` asks the server on this machine for ``/healthz``.

It reads the same settings from the same environment as the server and ends with 0 (healthy) or 1, as Docker wants it. It is
a module of its own, since it runs twice a minute and needs nothing of what the server imports. Over TLS the certificate is
not looked at: nothing is sent, the answer is believed for nothing else, and the names in it are those of the outside.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping
from typing import Final

from stronghold_cli.protocol.errors import UsageError
from stronghold_server.settings import Settings, load_settings

_SECONDS: Final = 5
_ON_THIS_MACHINE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (what is listened on, not by us)
_LONGEST_ANSWER: Final = 1024


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Ask once; 0 where the server answers 200, else 1 with the reason on standard error."""
    try:
        status = _status(load_settings(environment))
        fault = "" if status == http.client.OK else f"the answer is {status}"
    except (OSError, http.client.HTTPException) as error:
        fault = f"no answer: {str(error) or type(error).__name__}"
    except UsageError as error:
        fault = error.message
    sys.stderr.write(f"unhealthy: {fault}\n" if fault else "")
    return 1 if fault else 0


def _status(settings: Settings) -> int:
    connection = _connection(settings)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read(_LONGEST_ANSWER)
        return answer.status
    finally:
        connection.close()


def _connection(settings: Settings) -> http.client.HTTPConnection:
    host = _ON_THIS_MACHINE.get(settings.listen_host, settings.listen_host)
    if settings.plain_http:
        return http.client.HTTPConnection(host, settings.listen_port, timeout=_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, settings.listen_port, timeout=_SECONDS, context=context)


if __name__ == "__main__":
    sys.exit(main())
