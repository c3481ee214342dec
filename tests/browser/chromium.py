"""A headless Chromium, driven over its pipe by the DevTools protocol: what it asks for, complains of, and shows.

The protocol's messages are JSON, ended by a zero byte, on the browser's file descriptors 3 (to it) and 4 (from it). No name
but the address 127.0.0.1 is resolved, whatever a page asks for.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 60
# What a browser does on its own account is turned off; the page under test is all that it has.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
    "--window-size=1280,900",
)
_ABOVE_ALL_USED = 10


class Browser:
    """A running browser."""

    def __init__(self, program: str, folder: Path) -> None:
        their_end, self._to = _pipe()
        self._from, other_end = _pipe()
        log = os.open(folder / "chromium.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.pid = os.posix_spawn(
            program,
            [program, *FLAGS, f"--user-data-dir={folder / 'chromium'}", "about:blank"],
            {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, their_end, 3),
                (os.POSIX_SPAWN_DUP2, other_end, 4),
            ],
            setpgroup=0,
        )
        for end in (their_end, other_end, log):
            os.close(end)
        self._read = b""
        self._number = 0
        self.events: list[tuple[str | None, str, dict[str, Any]]] = []

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """One call of the protocol; what the browser reports meanwhile goes to ``events`` as (session, name, parameters)."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._message(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result
            if "method" in answer:
                self.events.append((answer.get("sessionId"), answer["method"], answer["params"]))

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            readable, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, "the browser does not answer"
            chunk = os.read(self._from, 1 << 20)
            assert chunk, "the browser ended"
            self._read += chunk
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def end(self) -> None:
        """End the browser with all its processes."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._to)
        os.close(self._from)


class Tab:
    """One page in the browser, watched from its first request on."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "Audits"):
            self.call(f"{domain}.enable")
        # Whatever runs beside the page (workers, frames) is reported, and stands still.
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        result = self.call("Page.navigate", url=url)
        assert "errorText" not in result, result

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} is not true\n{self.complaints()}"
            time.sleep(0.1)

    def requests(self) -> list[str]:
        """The address of everything that the page asked for, allowed or not, in order; "data:" addresses are none."""
        names = {"Network.requestWillBeSent": lambda event: event["request"]["url"]}
        names |= dict.fromkeys(("Network.webSocketCreated", "Network.webTransportCreated"), lambda event: event["url"])
        return [url for url in self._collect(names) if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        """What the browser found wrong: errors and warnings of its console, exceptions, breaches of the content policy."""
        return self._collect(
            {
                "Log.entryAdded": lambda event: event["entry"]["text"],
                "Runtime.exceptionThrown": lambda event: json.dumps(event["exceptionDetails"]),
                "Runtime.consoleAPICalled": lambda event: json.dumps(event["args"]),
                "Audits.issueAdded": lambda event: _breach(event["issue"]),
            }
        )

    def companions(self) -> list[str]:
        """Workers and frames that the page started."""
        return self._collect({"Target.attachedToTarget": lambda event: event["targetInfo"]["type"]})

    def _collect(self, names: dict[str, Callable[[dict[str, Any]], str]]) -> list[str]:
        self.evaluate("0")  # so that what has been reported is read
        found = [
            names[name](event) for session, name, event in self._browser.events if session == self._session and name in names
        ]
        return [text for text in found if text]

    def screenshot(self) -> bytes:
        """What the page shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def _breach(issue: dict[str, Any]) -> str:
    """An issue of the browser's audit as text; nothing where it is about something other than the content policy."""
    return json.dumps(issue) if issue["code"] == "ContentSecurityPolicyIssue" else ""


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are clear of the descriptors that the browser takes."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL_USED) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]


@contextmanager
def running(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with a new profile in ``folder``, ended at the end."""
    browser = Browser(program, folder)
    try:
        yield browser
    finally:
        browser.end()
