"""Deliveries into a store of oil or pellets: the list, a form for a new one, and taking back what was a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from nicegui import ui

from domain.errors import LichtbuchError, RetryableError
from lichtbuch.metering.v1 import metering_pb2
from servicekit.convert import timestamp_to_proto
from services.admin.asked import Asked
from services.admin.consumption import Delivered
from services.admin.feed import problem_of
from services.admin.findings import euros
from services.admin.metrics import CHANGES
from services.admin.pages.fields import clear_errors, instant_of, may, show_error
from services.admin.pages.meter_desk import Desk
from services.admin.pages.view import Card, rich
from services.admin.quantities import digits_of, parsed, scale_of, stored_value, value_text
from services.admin.request_ids import RequestIds

AGAIN_S = 120.0


class StockCard(Card):
    """The deliveries."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        town = desk.view.town
        self._feed: Asked[str, tuple[Delivered, ...]] = Asked(
            "metering", desk.meter.name, self._fetch, AGAIN_S, town.clock.real
        )
        self.own = (self._feed,)
        self._requests = RequestIds()
        self._scale = scale_of(desk.meter.unit, desk.meter.medium)
        super().__init__(desk.view, "deliveries", self._feed, town.may_deliver, town.may_withdraw, mark="deliveries")

    async def _fetch(self, _name: str) -> tuple[Delivered, ...]:
        return await self.view.town.metering.deliveries(self._desk.meter)

    def note(self) -> str:
        """Only the list may be old."""
        return self.view.stale_since(self._feed)

    def build(self) -> None:
        """The list and the form."""
        t = self.view.t
        self._sentence = ui.label().classes("quiet").mark("deliveries-state")
        self._list = ui.element("ul").classes("faults")
        with ui.element("form").classes("fields").props("novalidate").mark("delivery-fields") as self._form:
            self._form.on("submit.prevent", self._submit)
            rich("h3", escape(t("delivery_new")), "across")
            self._at = ui.input(t("delivered_at")).props("type=datetime-local stack-label").mark("delivery-at")
            unit = f" ({self._scale.symbol})" if self._scale.symbol else ""
            self._amount = ui.input(f"{t('delivery_amount')}{unit}").props("inputmode=decimal").mark("delivery-amount")
            self._cost = ui.input(t("delivery_cost")).props("inputmode=decimal").mark("delivery-cost")
            self._document = ui.input(t("delivery_document")).props("maxlength=200").mark("delivery-document")
            self._error = ui.label().classes("form-error").props('role="alert"')
            self._button = ui.button(t("delivery_submit")).props("unelevated no-caps type=submit")
            self._button.mark("delivery-submit")
        self._fields: Mapping[str, Any] = {
            "delivered_at": self._at,
            "amount": self._amount,
            "cost_cents": self._cost,
            "document": self._document,
        }
        for element in self._fields.values():
            element.props("outlined dense")
        self._form.set_visibility(False)

    def show(self) -> None:
        """The deliveries, the newest first."""
        t, found, town = self.view.t, self._feed.answer, self.view.town
        self._form.set_visibility(may(town.may_deliver))
        self._list.clear()
        waiting = self.view.told(self._feed.refusal) or self.instead(self._feed)
        self._sentence.set_text(waiting if found is None else "" if found else t("deliveries_none"))
        self._sentence.set_visibility(not found)
        with self._list:
            for delivery in found or ():
                self._item(delivery)

    def _item(self, delivery: Delivered) -> None:
        t, formats, meter = self.view.t, self.view.formats, self._desk.meter
        amount = value_text(formats, delivery.amount, meter.unit, meter.scale_exponent, meter.medium)
        day = formats.long_date(delivery.at)
        lines = [delivery.document, t("delivery_by", person=delivery.recorded_by) if delivery.recorded_by else ""]
        if delivery.withdrawn_at is not None:
            lines.append(t("delivery_withdrawn", reason=delivery.withdrawal_reason))
        cost = f" · {formats.money(euros(delivery.cost_cents))}" if delivery.cost_cents else ""
        with ui.element("li").classes("fault is-gone" if delivery.withdrawn_at else "fault is-good").mark("delivery"):
            texts = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
            rich(
                "div",
                f'<p class="what"><strong>{escape(amount)}</strong>{escape(cost)}</p><p>{escape(day)}</p>{texts}',
                "about",
            )
            if delivery.withdrawn_at is None and self.view.town.may_withdraw.value is True:
                with ui.element("div").classes("actions"):
                    button = ui.button(t("delivery_withdraw"), on_click=lambda: self._ask(delivery))
                    button.props("flat dense no-caps").mark("delivery-withdraw")
                    button.props["aria-label"] = f"{t('delivery_withdraw')}: {amount}, {day}"

    async def _submit(self) -> None:
        clear_errors(self._fields, self._error)
        wanted = self._read()
        if wanted is None:
            return
        request_id = self._requests.of(wanted.SerializeToString(deterministic=True))
        self._button.disable()
        town = self.view.town
        try:
            await town.metering.deliver(self._desk.meter, wanted, request_id)
        except LichtbuchError as error:
            CHANGES.labels("delivery", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            show_error(self.view, error, "metering", self._fields, self._error)
        else:
            CHANGES.labels("delivery", "ok").inc()
            self._requests.answered()
            ui.notify(self.view.t("saved_done"), type="positive")
            for field in self._fields.values():
                field.set_value("")
            await self._feed.refresh_anew()
            self._desk.changed()
        finally:
            self._button.enable()
        self.tick()

    def _read(self) -> metering_pb2.Delivery | None:
        """What the fields say; None where something is wrong, which is then said at the field."""
        view, t, meter = self.view, self.view.t, self._desk.meter
        at = instant_of(self._at.value, view.town.tz)
        shown = parsed(self._amount.value or "", t.language)
        amount = stored_value(shown, self._scale, meter.scale_exponent) if shown is not None else None
        cost = parsed(self._cost.value, t.language) if (self._cost.value or "").strip() else None
        if at is None:
            self._at.error = t("error_required")
        if amount is None or amount <= 0:
            digits = view.formats.number(digits_of(self._scale, meter.scale_exponent))
            self._amount.error = t("error_counter", digits=digits)
        if (self._cost.value or "").strip() and (cost is None or cost < 0):
            self._cost.error = t("error_money")
        if any(field.error for field in self._fields.values()) or at is None or amount is None:
            return None
        return metering_pb2.Delivery(
            delivered_at=timestamp_to_proto(at),
            amount=amount,
            cost_cents=int((cost or 0) * 100),
            document=(self._document.value or "").strip(),
        )

    def _ask(self, delivery: Delivered) -> None:
        t = self.view.t
        with self.frame, ui.dialog() as dialog, ui.card().classes("dialog"):
            rich("h2", escape(t("delivery_withdraw_title")))
            reason = ui.input(t("reason")).props("outlined dense maxlength=500").classes("wide")
            reason.mark("withdraw-reason")

            async def withdraw() -> None:
                said = (reason.value or "").strip()
                if not said:
                    reason.error = t("error_required")
                    return
                dialog.close()
                await self._withdraw(delivery, said)

            with ui.element("div").classes("buttons"):
                ui.button(t("cancel"), on_click=dialog.close).props("flat no-caps")
                button = ui.button(t("delivery_withdraw"), on_click=withdraw).props("unelevated no-caps")
                button.mark("withdraw-now")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _withdraw(self, delivery: Delivered, reason: str) -> None:
        try:
            await self.view.town.metering.withdraw(delivery.name, reason)
        except LichtbuchError as error:
            CHANGES.labels("delivery", problem_of(error).value).inc()
            ui.notify(self.view.refusal(error, "metering"), type="negative", multi_line=True, timeout=8_000)
        else:
            CHANGES.labels("delivery", "ok").inc()
            ui.notify(self.view.t("saved_done"), type="positive")
        await self._feed.refresh_anew()
        self._desk.changed()
        self.tick()
