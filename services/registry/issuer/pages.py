"""The pages that people see: login, logged out, and why not. Plain HTML without scripts, in English and German.

Every text that comes from outside is escaped here; whoever adds a page does the same.
"""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final

from services.registry.issuer.users import DEMONSTRATION_USERS

LANGUAGES: Final = ("en", "de")

STYLE: Final = """
body{font:1rem/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;max-width:44rem;margin:2rem auto;padding:0 1rem}
label{display:block;margin-top:1rem;font-weight:600}
input{display:block;font:inherit;width:100%;max-width:20rem;padding:.5rem;border:1px solid #5a5a5a;border-radius:4px}
button{font:inherit;margin-top:1.25rem;padding:.5rem 1.5rem;color:#fff;background:#14508c;border:0;border-radius:4px}
:focus-visible{outline:3px solid #b35900;outline-offset:2px}
table{border-collapse:collapse;margin-top:2rem}caption{text-align:left;font-weight:600}
th,td{text-align:left;padding:.25rem 1rem .25rem 0;border-bottom:1px solid #c8c8c8;vertical-align:top}
.notice{border-left:4px solid #b35900;padding:.25rem 1rem;background:#fdf3e7}
.error{border-left:4px solid #b00020;padding:.25rem 1rem;background:#fdecee}
"""

STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""For the content security policy: this style and no other."""

_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "login": "Log in to Lichtbuch",
        "notice": "Demonstration: these users do not exist and their passwords are public.",
        "username": "User name",
        "password": "Password",
        "submit": "Log in",
        "users": "Demonstration users",
        "task": "What they may do",
        "wrong": "User name or password is wrong.",
        "wait": "Too many wrong passwords. Try again in {seconds} seconds.",
        "refused": "This login cannot go on",
        "expired": "This login has expired. Go back to the application and start again.",
        "client": "The application that sent you here is not known, or would send you to another machine.",
        "logged_out": "You are logged out",
        "logged_out_text": "Nothing about you is remembered here.",
    },
    "de": {
        "login": "Bei Lichtbuch anmelden",
        "notice": "Vorführung: Diese Personen gibt es nicht, und ihre Passwörter sind öffentlich.",
        "username": "Benutzername",
        "password": "Passwort",
        "submit": "Anmelden",
        "users": "Benutzer der Vorführung",
        "task": "Was sie dürfen",
        "wrong": "Benutzername oder Passwort ist falsch.",
        "wait": "Zu viele falsche Passwörter. Bitte in {seconds} Sekunden noch einmal versuchen.",
        "refused": "Diese Anmeldung geht nicht weiter",
        "expired": "Diese Anmeldung ist abgelaufen. Bitte in der Anwendung neu beginnen.",
        "client": "Die Anwendung, die Sie hierher geschickt hat, ist unbekannt oder führt auf einen anderen Rechner.",
        "logged_out": "Sie sind abgemeldet",
        "logged_out_text": "Hier ist nichts über Sie gespeichert.",
    },
}


def choose_language(ui_locales: str, accept_language: str) -> str:
    """The language of a page: what the application asks for, else what the browser prefers, else English."""
    wanted = [*ui_locales.split(), *_by_preference(accept_language)]
    for tag in wanted:
        primary = tag.split("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return LANGUAGES[0]


def _by_preference(accept_language: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:20]:
        tag, _, weight = item.strip().partition(";q=")
        try:
            weighted.append((float(weight) if weight else 1.0, tag))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighted, key=lambda pair: -pair[0])]


def login_page(language: str, request_key: str, *, username: str = "", error: str = "", wait_s: float = 0.0) -> str:
    """The login form. `error` is "" or a key of the texts ("wrong", "wait")."""
    text = _TEXTS[language]
    message = ""
    if error:
        sentence = text[error].format(seconds=max(1, round(wait_s)))
        message = f'<p class="error" role="alert" id="error">{escape(sentence)}</p>'
    invalid = ' aria-invalid="true" aria-describedby="error"' if error else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(user.username)}</th><td>{escape(user.password)}</td>'
        f"<td>{escape(user.name)}: {escape(user.task[language])}</td></tr>"
        for user in DEMONSTRATION_USERS.values()
    )
    body = f"""<h1>{text["login"]}</h1>
<p class="notice">{text["notice"]}</p>
{message}
<form method="post" action="login">
<input type="hidden" name="request" value="{escape(request_key)}">
<input type="hidden" name="language" value="{language}">
<label for="username">{text["username"]}</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" required autofocus
 value="{escape(username)}"{invalid}>
<label for="password">{text["password"]}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{invalid}>
<button type="submit">{text["submit"]}</button>
</form>
<table><caption>{text["users"]}</caption>
<thead><tr><th scope="col">{text["username"]}</th><th scope="col">{text["password"]}</th>
<th scope="col">{text["task"]}</th></tr></thead><tbody>{rows}</tbody></table>"""
    return _page(language, text["login"], body)


def refusal_page(language: str, reason: str) -> str:
    """Why a login cannot go on. `reason` is a key of the texts ("expired", "client")."""
    text = _TEXTS[language]
    return _page(language, text["refused"], f'<h1>{text["refused"]}</h1><p class="error">{text[reason]}</p>')


def logged_out_page(language: str) -> str:
    """Where a logout ends when the application names no place to go."""
    text = _TEXTS[language]
    return _page(language, text["logged_out"], f"<h1>{text['logged_out']}</h1><p>{text['logged_out_text']}</p>")


def _page(language: str, title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
