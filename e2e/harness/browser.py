"""A headless Chromium with a person in front of it, who answers what forms ask."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Page, sync_playwright

from e2e.harness.oauth import Authorization, PublicClient, Tokens

# No sandbox: Chromium refuses to have one as root. It sees nothing but our own pages.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_TIMEOUT_MILLISECONDS = 30_000
_MAX_FORMS = 4
_FIELDS = "input[name]:not([readonly]):not([type=hidden]):not([type=submit]):not([type=checkbox])"

Knowledge = Mapping[str, Callable[[], str]]


@dataclass(frozen=True, slots=True)
class Visit:
    """What came of an authorization request.

    Attributes:
        forms: The fields of each form that the person had to fill in, in order.
        answer: The authorization response's parameters.
    """

    forms: tuple[tuple[str, ...], ...]
    answer: Mapping[str, str]


class Person:
    """A person with a browser of their own: cookies last as long as the person.

    Args:
        knowledge: What to write into a field of a form, by its name.
    """

    def __init__(self, context: BrowserContext, knowledge: Knowledge) -> None:
        self._context = context
        self._knowledge = knowledge

    def authorize(self, authorization: Authorization) -> Visit:
        """Follow an authorization request to its end, through every form on the way.

        Raises:
            AssertionError: A page that asks for nothing we know, or for the same again.
        """
        page = self._context.new_page()
        try:
            page.set_default_timeout(_TIMEOUT_MILLISECONDS)
            page.goto(authorization.url)
            forms: list[tuple[str, ...]] = []
            while not page.url.startswith(authorization.redirect_uri):
                forms.append(self._fill(page))
                assert len(forms) <= _MAX_FORMS, f"no end of forms: {forms}"
                assert len(set(forms)) == len(forms), f"asked again: {_text(page)}"
                with page.expect_navigation():
                    page.locator("[type=submit]").first.click()
            query = urllib.parse.urlsplit(page.url).query
            return Visit(tuple(forms), dict(urllib.parse.parse_qsl(query)))
        finally:
            page.close()

    def obtain(self, client: PublicClient, **parameters: str) -> tuple[Visit, Tokens]:
        """Follow an authorization request with these parameters, and have the code redeemed."""
        request = client.authorization(**parameters)
        visit = self.authorize(request)
        return visit, client.redeem(request, visit.answer)

    def _fill(self, page: Page) -> tuple[str, ...]:
        visible = [field for field in page.locator(_FIELDS).all() if field.is_visible()]
        names = tuple(str(field.get_attribute("name")) for field in visible)
        assert names, f"no form: {_text(page)}"
        assert set(names) <= set(self._knowledge), f"asked for {names}: {_text(page)}"
        for field, name in zip(visible, names, strict=True):
            field.fill(self._knowledge[name]())
        return names


@contextmanager
def people(chromium: str) -> Iterator[Callable[[Knowledge], Person]]:
    """Start Chromium; each call gives a person with an empty browser profile."""
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(_FLAGS), env={**os.environ, "HOME": home}
        )
        try:
            yield lambda knowledge: Person(browser.new_context(), knowledge)
        finally:
            browser.close()


def find_chromium() -> str | None:
    """Give `E2E_CHROMIUM`, or the Chromium on the path."""
    return os.environ.get("E2E_CHROMIUM") or shutil.which("chromium")


def _text(page: Page) -> str:
    return " ".join(page.inner_text("body").split())[:300]
