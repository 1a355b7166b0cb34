"""The authorization server's pages. Everything that goes into the HTML is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bridge.demo.oauth import User

HEADERS = {
    "cache-control": "no-store",
    # No `form-action`: browsers apply it to the redirect that follows a form, which leaves us.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; background: #eef1f5; color: #1c2733; margin: 0 }
main { max-width: 24rem; margin: 10vh auto; background: #fff; padding: 2rem; border-radius: 8px;
       box-shadow: 0 1px 6px #0003 }
h1 { font-size: 1.3rem; margin: 0 0 1rem }
label { display: block; margin: .8rem 0 .2rem }
input { font: inherit; width: 100%; padding: .5rem; box-sizing: border-box }
button { font: inherit; margin-top: 1.2rem; padding: .5rem 1.2rem; border: 0; border-radius: 4px;
         background: #1d5fa8; color: #fff; cursor: pointer }
button.quiet { background: none; color: #1d5fa8 }
.hint { background: #fff6d8; padding: .6rem .8rem; border-radius: 4px; font-size: .9rem }
.wrong { color: #a61b1b }
"""


def password_page(name: str, client_id: str, users: Sequence[User], *, wrong: bool) -> str:
    """Render the first factor.

    Args:
        name: The pending request's name.
        wrong: The last attempt failed.
    """
    hints = "<br>".join(_hint(user) for user in users)
    return _page(
        "Log in",
        f"""<p>to go on to <b>{escape(client_id)}</b></p>
{_wrong("That is not the password.") if wrong else ""}
<p class="hint">This is a demo. {hints}</p>
<form method="post" action="login">
{_hidden(name)}
<label for="username">User</label>
<input id="username" name="username" autocomplete="username" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>Log in</button> {_cancel()}
</form>""",
    )


def second_factor_page(name: str, user: User, *, wrong: bool) -> str:
    """Render the second factor; arguments as above."""
    return _page(
        "Second factor",
        f"""<p>{escape(user.name)}, what you are about to do needs more than your password.</p>
{_wrong("That is not the code.") if wrong else ""}
<p class="hint">This is a demo. Your one-time code is <code>{escape(user.code or "")}</code>.</p>
<form method="post" action="second-factor">
{_hidden(name)}
<label for="code">One-time code</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" required autofocus>
<button>Confirm</button> {_cancel()}
</form>""",
    )


def error_page(text: str) -> str:
    """Render an error that must not be redirected."""
    return _page("This cannot go on", f"<p>{escape(text)}.</p>")


def _hint(user: User) -> str:
    hint = f"<code>{escape(user.name)}</code> has the password <code>{escape(user.password)}</code>"
    return hint + ("." if user.code else ", and no second factor.")


def _hidden(name: str) -> str:
    return f'<input type="hidden" name="request" value="{escape(name)}">'


def _cancel() -> str:
    return '<button class="quiet" name="cancel" value="yes" formnovalidate>Cancel</button>'


def _wrong(text: str) -> str:
    return f'<p class="wrong" role="alert">{escape(text)}</p>'


def _page(title: str, content: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)} - demo authorization server</title>
<style>{_STYLE}</style>
<main>
<h1>{escape(title)}</h1>
{content}
</main>
</html>
"""
