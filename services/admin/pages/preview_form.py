"""What is to be previewed: a stored profile or a text, for which groups and nights; and saving what was previewed.

What is plainly incomplete is said here; everything else the scheduler judges, and its answer stands at the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from nicegui import ui
from nicegui.events import GenericEventArguments

from domain.errors import FailedPrecondition, InvalidInput, LichtbuchError, RetryableError
from domain.night import lighting_night
from lichtbuch.scheduler.v1 import scheduler_pb2 as pb
from servicekit.convert import date_to_proto
from services.admin.feed import problem_of
from services.admin.figures import id_of
from services.admin.metrics import CHANGES
from services.admin.pages.fields import clear_errors, day_of, group_options, may, show_error
from services.admin.pages.preview_card import PreviewCard
from services.admin.pages.view import Card, View, rich
from services.admin.preview import outlook_from_proto
from services.admin.profile_text import MAX_BYTES, places, profile_from_text, text_of_profile
from services.admin.request_ids import RequestIds

USUAL_NIGHTS: Final = 365
MOST_NIGHTS: Final = 400
MOST_GROUP_NIGHTS: Final = 20_000
"""Beyond, the scheduler tells no switch events of groups."""
MOST_CHOSEN: Final = 20
"""In a town with more groups nobody is chosen for a start: they would fill the form."""
_READ_FILE: Final = f"""async (event) => {{
  const file = event.target.files[0];
  if (file) emit({{name: file.name, text: file.size > {MAX_BYTES} ? null : await file.text()}});
  event.target.value = "";
}}"""


class PreviewForm(Card):
    """The form. `chosen`: id of the profile to begin with."""

    def __init__(self, view: View, chosen: str) -> None:
        self._chosen = chosen
        self._card: PreviewCard | None = None
        self._stored: pb.Profile | None = None
        """The profile that the text began as."""
        self._previewed = ""
        """The text that was previewed last."""
        self._requests = RequestIds()
        self._has_offered_groups = False
        town = view.town
        super().__init__(view, "preview_form", town.profiles, town.inventory, town.may_plan, mark="preview-form")

    def shows(self, card: PreviewCard) -> None:
        """Where outlooks are shown."""
        self._card = card

    def build(self) -> None:
        """The fields."""
        t = self.view.t
        self._state = ui.label().classes("quiet")
        with ui.element("form").classes("fields").props("novalidate").mark("preview-fields") as form:
            form.on("submit.prevent", self._submit)
            self._profile = ui.select({}, label=t("preview_profile"), on_change=self._choose).classes("across")
            self._profile.mark("preview-profile")
            self._groups = ui.select({}, label=t("preview_groups"), multiple=True, value=[]).classes("across")
            self._groups.props("use-chips").props["hint"] = t("preview_groups_hint")
            self._groups.mark("preview-groups")
            tonight = lighting_night(self.view.town.clock.now(), self.view.town.tz)
            self._first = ui.input(t("preview_first"), value=tonight.isoformat()).props("type=date stack-label")
            self._first.mark("preview-first")
            self._nights = ui.number(t("preview_nights"), value=USUAL_NIGHTS, min=1, max=MOST_NIGHTS, step=1)
            self._nights.mark("preview-nights")
            self._price = ui.input(t("preview_price"), placeholder="0.30").props("stack-label").mark("preview-price")
            self._co2 = ui.number(t("preview_co2"), placeholder="363", min=0, max=2000).props("stack-label")
            self._co2.mark("preview-co2")
            self._text = ui.textarea(t("preview_text")).classes("across profile-text").mark("preview-text")
            self._text.props('spellcheck="false" input-style="font-family: monospace"')
            self._text.props["hint"] = t("preview_text_hint")
            with ui.element("label").classes("file across"):
                ui.label(t("preview_file"))
                self._file = ui.element("input").props('type="file" accept=".toml,text/plain"')
            self._file.on("change", self._take_file, js_handler=_READ_FILE)
            self._file.mark("preview-file")
            self._error = ui.label().classes("form-error").props('role="alert"').mark("preview-error")
            self._button = ui.button(t("preview_submit")).props("unelevated no-caps type=submit").mark("preview-submit")
        self._fields: Mapping[str, Any] = {
            "groups": self._groups,
            "first_night": self._first,
            "nights": self._nights,
            "price_eur_per_kwh": self._price,
            "co2_g_per_kwh": self._co2,
            "profile": self._text,
        }
        for element in (self._profile, *self._fields.values()):
            element.props("outlined dense")
        with ui.element("div").classes("fields").mark("profile-save") as self._saving:
            rich("h3", escape(t("profile_save")), "across")
            self._id = ui.input(t("profile_id")).props("outlined dense maxlength=63").mark("profile-id")
            self._save = ui.button(t("save"), on_click=self._store).props("unelevated no-caps").mark("profile-save-now")
            self._hint = ui.label().classes("quiet across")
            self._save_error = ui.label().classes("form-error").props('role="alert"')
        self._saving.set_visibility(False)

    def note(self) -> str:
        """The list of profiles may be old."""
        return self.view.stale_since(self.view.town.profiles)

    def show(self) -> None:
        """Offers what there is."""
        t, town = self.view.t, self.view.town
        profiles = town.profiles.value
        self._state.set_text("" if profiles else self.instead(town.profiles) if profiles is None else t("no_profiles"))
        self._state.set_visibility(not profiles)
        options = {"": t("preview_own_text")}
        options |= {each.name: each.display_name or id_of(each.name) for each in profiles or ()}
        if options != self._profile.options:
            wanted = next((name for name in options if self._chosen and id_of(name) == self._chosen), None)
            kept = self._profile.value if self._profile.value in options else ""
            if wanted is None and not self._chosen and not (self._text.value or "").strip() and len(options) > 1:
                wanted = list(options)[1]
            if wanted is not None:
                self._chosen = ""
            self._profile.set_options(options, value=wanted if wanted is not None else kept)
        groups = group_options(self.view)
        if groups != self._groups.options:
            chosen = [each for each in self._groups.value or () if each in groups]
            if groups and not self._has_offered_groups:
                self._has_offered_groups = True
                inventory = town.inventory.value
                lit = [group.name for group in inventory.groups if group.luminaires] if inventory else []
                chosen = lit if len(lit) <= MOST_CHOSEN else []
            self._groups.set_options(groups, value=chosen)
        self._offer_saving()

    def tick(self) -> None:
        """Shows what is new; also that the text is another one than was previewed."""
        super().tick()
        self._offer_saving()

    def _choose(self) -> None:
        """Puts a stored profile into the text."""
        for each in self.view.town.profiles.value or ():
            if each.name == self._profile.value:
                self._stored = each
                self._text.set_value(text_of_profile(each))
                self._id.set_value(id_of(each.name))

    def _take_file(self, event: GenericEventArguments) -> None:
        """Puts a file into the text. It is read in the browser and nowhere stored."""
        name, text = str(event.args.get("name") or ""), event.args.get("text")
        if not isinstance(text, str) or len(text.encode()) > MAX_BYTES:
            self._text.error = self.view.t("error_file", most=self.view.formats.number(MAX_BYTES))
            return
        self._text.error = None
        self._profile.set_value("")
        self._stored = None
        self._text.set_value(text)
        self._id.set_value(name.rsplit(".", 1)[0][:63])

    # --- previewing ----------------------------------------------------------------------------------------------

    async def _submit(self) -> None:
        clear_errors(self._fields, self._error)
        request = self._read()
        if request is None or self._card is None:
            return
        text, town = self._text.value or "", self.view.town
        self._previewed = ""
        self._button.disable()
        self._card.wait()
        try:
            answer = await town.planning.preview(request)
        except LichtbuchError as error:
            self._refused(error)
            self._card.forget()
        else:
            self._card.take(request.profile.display_name, outlook_from_proto(request, answer, town.tz))
            self._previewed = text
        finally:
            self._button.enable()
            self._offer_saving()

    def _read(self) -> pb.PreviewProfileRequest | None:
        """What the fields say; None where something is wrong, which is then said at the field."""
        t, town = self.view.t, self.view.town
        first, nights, co2 = day_of(self._first.value), self._nights.value, self._co2.value
        if first is None:
            example = lighting_night(town.clock.now(), town.tz).isoformat()
            self._first.error = t("error_date", example=example)
        if nights is None or not 1 <= nights <= MOST_NIGHTS:
            self._nights.error = t("error_nights", most=MOST_NIGHTS)
            nights = None
        profile = self._profile_of_text()
        if first is None or nights is None or profile is None:
            return None
        groups = list(self._groups.value or ())
        return pb.PreviewProfileRequest(
            profile=profile,
            first_night=date_to_proto(first),
            nights=int(nights),
            groups=groups,
            price_eur_per_kwh=(self._price.value or "").strip().replace(",", "."),
            co2_g_per_kwh=None if co2 is None else int(co2),
            omit_group_events=len(groups) * int(nights) > MOST_GROUP_NIGHTS,
        )

    def _profile_of_text(self) -> pb.Profile | None:
        text = self._text.value or ""
        if not text.strip():
            self._text.error = self.view.t("error_required")
            return None
        try:
            return profile_from_text(text, self.view.town.name)
        except InvalidInput as error:
            self._text.error = " · ".join(places(error))
            return None

    def _refused(self, error: LichtbuchError) -> None:
        """What is wrong in the profile stands at its text, the rest at its field."""
        if isinstance(error, InvalidInput | FailedPrecondition):
            inner = [each for each in error.violations if each.field.startswith("profile")]
            if inner and len(inner) == len(error.violations):
                self._text.error = " · ".join(places(error))
                return
        show_error(self.view, error, "scheduler", self._fields, self._error)

    # --- saving --------------------------------------------------------------------------------------------------

    def _offer_saving(self) -> None:
        """Only who may save is asked to, and only what was previewed as it stands."""
        t = self.view.t
        self._saving.set_visibility(may(self.view.town.may_plan))
        is_seen = bool(self._previewed) and self._previewed == (self._text.value or "")
        self._save.set_enabled(is_seen)
        self._hint.set_text(t("profile_save_now") if is_seen else t("profile_save_later"))

    async def _store(self) -> None:
        t, town = self.view.t, self.view.town
        clear_errors({"profile_id": self._id}, self._save_error)
        identity = (self._id.value or "").strip()
        if not identity:
            self._id.error = t("error_required")
            return
        profile = self._profile_of_text()
        if profile is None:
            return
        if self._stored is not None and id_of(self._stored.name) == identity:
            profile.name, profile.etag = self._stored.name, self._stored.etag
        request_id = self._requests.of(identity.encode() + profile.SerializeToString(deterministic=True))
        self._save.disable()
        try:
            stored = await town.planning.save_profile(profile, identity, request_id)
        except LichtbuchError as error:
            CHANGES.labels("profile", problem_of(error).value).inc()
            if not isinstance(error, RetryableError):
                self._requests.answered()
            show_error(self.view, error, "scheduler", {"profile_id": self._id}, self._save_error)
        else:
            CHANGES.labels("profile", "ok").inc()
            self._stored = stored
            self._requests.answered()
            ui.notify(t("profile_saved", count=stored.revision), type="positive")
            if stored.warnings:
                ui.notify(" ".join(stored.warnings), type="warning", multi_line=True, timeout=12_000)
            await town.profiles.refresh_anew()
        self._offer_saving()
