"""A browser and its user: follows redirects, fills in the demo's forms, comes back to the program.

As a program: `python scripted_browser.py URL`, for the environment variable BROWSER.
"""

from __future__ import annotations

import re
import sys
import threading
from html import unescape
from urllib.parse import urljoin

import httpx

_FORM = re.compile(r'<form method="post" action="([^"]*)"')
_HIDDEN = re.compile(r'name="request" value="([^"]*)"')
_MAX_HOPS = 10


class ScriptedBrowser:
    """Keeps its cookies, so that the authorization server knows it again.

    Attributes:
        visited: The URLs it was opened with.
        last: The last answer it got: that of the program, when all went well.
    """

    def __init__(self, user: str = "alice", *, cancel: bool = False) -> None:
        passwords = {"alice": "wonderland", "bob": "builder"}
        self._known = {"username": user, "password": passwords[user], "code": "492817"}
        self._cancel = cancel
        self._cookies = httpx.Cookies()
        self.visited: list[str] = []
        self.finished = threading.Event()
        self.last: httpx.Response | None = None

    def __call__(self, url: str) -> bool:
        self.visited.append(url)
        with httpx.Client(timeout=10, trust_env=False, cookies=self._cookies) as http:
            self._browse(http, url)
            self._cookies = http.cookies
        self.finished.set()
        return True

    def _browse(self, http: httpx.Client, url: str) -> None:
        response = http.get(url)
        for _ in range(_MAX_HOPS):
            url = str(response.url)
            form = _FORM.search(response.text)
            if response.has_redirect_location:
                response = http.get(urljoin(url, response.headers["location"]))
            elif form is not None:
                response = http.post(urljoin(url, form[1]), data=self._fill(response.text))
            else:
                self.last = response
                return
        raise AssertionError("redirects or forms without end")

    def _fill(self, page: str) -> dict[str, str]:
        hidden = _HIDDEN.search(page)
        assert hidden is not None
        filled = {name: value for name, value in self._known.items() if f'name="{name}"' in page}
        if self._cancel:
            filled["cancel"] = "yes"
        return {"request": unescape(hidden[1]), **filled}


if __name__ == "__main__":
    ScriptedBrowser()(sys.argv[1])
