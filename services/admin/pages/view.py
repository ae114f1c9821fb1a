"""What every part of the page is given, and the frame that every card has. Not here: any one card."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Final

from nicegui import ui

from domain.errors import LichtbuchError, NotAuthenticated, NotPermitted, RetryableError
from services.admin.feed import Feed, Kept
from services.admin.figures import id_of
from services.admin.formats import Formats
from services.admin.texts import Texts
from services.admin.told import FOREIGN, reasons, told
from services.admin.town import Town

NUMBER: Final = "number"
"""Class of cells that hold numbers."""


@dataclass(frozen=True)
class View:
    """One open page: whose town, in which language."""

    town: Town
    t: Texts

    @property
    def formats(self) -> Formats:
        """How the page writes numbers and instants."""
        return Formats(self.t.language, self.town.tz)

    def problem(self, feed: Kept[Any]) -> str:
        """Why a feed has nothing new, as a sentence; empty where all is well."""
        if feed.problem is None:
            return ""
        return self.t(f"problem_{feed.problem.value}", service=self.t(feed.service))

    def stale_since(self, feed: Kept[Any]) -> str:
        """As of when an old value is shown, on the real clock."""
        since: datetime | None = feed.fetched_at
        return self.t("stale", time=self.formats.clock(since)) if since and feed.is_stale else ""

    def refusal(self, error: LichtbuchError, service: str) -> str:
        """What to tell a person whose change was not taken."""
        if isinstance(error, NotPermitted):
            return self.t("error_denied")
        if isinstance(error, NotAuthenticated):
            return self.t("problem_signed_out")
        if isinstance(error, RetryableError):
            return self.t("error_away", service=self.t(service))
        said = [told(self.formats, reason) for reason in reasons(error)]
        if all(not each.language for each in said) and self.t.language != FOREIGN:
            return " ".join(dict.fromkeys(each.text for each in said))
        return self.t("error_server", message=error.message)

    def told(self, sentence: str) -> str:
        """What a service says, in the language of the page as far as it is known."""
        return told(self.formats, sentence).text


class Card(ABC):
    """A card: heading, a note on how fresh it is, content that is filled anew when its feeds have news."""

    own: tuple[Feed[Any], ...] = ()
    """Those of its feeds that only this page shows, not the town: about one meter, for instance."""

    def __init__(self, view: View, heading: str, *feeds: Kept[Any], mark: str) -> None:
        self.view, self.feeds = view, feeds
        self._seen: tuple[int, ...] = ()
        self.frame = ui.element("section").classes(f"card {mark}-card").mark(mark)
        self.frame.props["aria-label"] = view.t(heading)
        with self.frame:
            with ui.element("div").classes("card-head"):
                rich("h2", escape(view.t(heading)))
                self._note = ui.label().classes("card-note")
            with ui.element("div").classes("card-body") as self.body:
                self.build()

    def tick(self) -> None:
        """Shows what is new. Called once a second, and after whatever a person did."""
        versions = tuple(feed.version for feed in self.feeds)
        if versions != self._seen:
            self._seen = versions
            self._note.set_text(self.note())
            if any(feed.is_stale for feed in self.feeds):
                self.frame.classes(add="is-stale")
            else:
                self.frame.classes(remove="is-stale")
            self.show()

    def note(self) -> str:
        """What stands beside the heading: as of when the content is, where it is old."""
        return next((self.view.stale_since(feed) for feed in self.feeds if feed.is_stale), "")

    def instead(self, feed: Kept[Any]) -> str:
        """What to show in place of a value that there is not."""
        return self.view.problem(feed) or self.view.t("loading")

    @abstractmethod
    def build(self) -> None:
        """Makes the content's elements, once."""

    @abstractmethod
    def show(self) -> None:
        """Fills them."""


def page_path(view: View, tail: str) -> str:
    """The address of another page of the municipality."""
    return f"/{view.t.language}/{id_of(view.town.name)}{tail}"


def download_csv(text: str, *parts: str) -> None:
    """Hands a table to the browser as a file: UTF-8 with a mark that spreadsheets know it by; parts make its name."""
    name = re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-")
    ui.download.content(text.encode("utf-8-sig"), f"{name}.csv", "text/csv")


def rich(tag: str, html: str = "", classes: str = "") -> ui.html:
    """An element of HTML that we wrote ourselves: whatever comes from outside has been escaped in it."""
    return ui.html(html, sanitize=False, tag=tag).classes(classes)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: text and the classes it is dressed in."""

    text: str
    classes: str = ""


def table_html(caption: str, heads: Sequence[Cell], rows: Sequence[Sequence[Cell]], total: Sequence[Cell] = ()) -> str:
    """A table that screen readers can walk through. Every text is escaped here; the caption is for them only."""
    head = "".join(f'<th scope="col"{_dress(cell)}>{escape(cell.text)}</th>' for cell in heads)
    foot = f"<tfoot>{_row(total)}</tfoot>" if total else ""
    return (
        f'<table><caption class="for-readers">{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_row, rows))}</tbody>{foot}</table>"
    )


def tiles_html(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Large numbers with a word each: (kind of the tile, number, word)."""
    return "".join(
        f'<div class="tile tile-{escape(kind)}"><dt>{escape(word)}</dt><dd>{escape(number)}</dd></div>'
        for kind, number, word in tiles
    )


def _row(cells: Sequence[Cell]) -> str:
    first, *rest = cells
    others = "".join(f"<td{_dress(cell)}>{escape(cell.text)}</td>" for cell in rest)
    return f'<tr><th scope="row"{_dress(first)}>{escape(first.text)}</th>{others}</tr>'


def _dress(cell: Cell) -> str:
    return f' class="{escape(cell.classes)}"' if cell.classes else ""
