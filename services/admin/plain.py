"""Pages that need no live connection: logged out, login failed, which municipality, not found. HTML without scripts.

Every text that comes from outside is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from starlette.responses import HTMLResponse

from services.admin.figures import Facts
from services.admin.texts import Texts


def page(
    texts: Texts, title: str, paragraphs: Iterable[str], *, action: str = "", status: int = 200, again_s: int = 0
) -> HTMLResponse:
    """A page of some sentences; `action` is HTML below them. It loads itself again after `again_s` seconds."""
    sentences = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    again = f'<meta http-equiv="refresh" content="{again_s}">' if again_s else ""
    html = (
        f'<!doctype html><html lang="{texts.language}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}'
        f'<title>{escape(title)} · Lichtbuch</title><link rel="icon" href="/favicon.ico" type="image/svg+xml">'
        f'<link rel="stylesheet" href="/static/lichtbuch.css"></head><body class="plain"><main class="plain-card">'
        f'<p class="wordmark"><span class="lamp" aria-hidden="true"></span>Lichtbuch</p>'
        f"<h1>{escape(title)}</h1>{sentences}{action}</main></body></html>"
    )
    return HTMLResponse(html, status, {"Cache-Control": "no-store"})


def link(path: str, text: str) -> str:
    """A link that looks like a button."""
    return f'<p><a class="action" href="{escape(path)}">{escape(text)}</a></p>'


def not_found_page(language: str) -> HTMLResponse:
    """There is nothing there."""
    texts = Texts(language)
    return page(texts, texts("not_found"), (), action=link("/", texts("to_start")), status=404)


def chooser_page(texts: Texts, towns: Iterable[Facts]) -> HTMLResponse:
    """Which of several municipalities."""
    items = "".join(
        f'<li><a href="/{texts.language}/{escape(town.id)}">{escape(town.display_name)}</a></li>' for town in towns
    )
    return page(texts, texts("choose_town"), (), action=f'<ul class="towns">{items}</ul>')
