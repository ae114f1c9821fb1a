"""Names and reasons come from others: what they hold is shown as it is, neither obeyed nor stumbled over."""

import json
from typing import Any

import pytest
from typer import Exit

from cli.errors import report
from cli.field.advice import Advice
from cli.field.modbus_scan import _sunspec_identity
from cli.field.telling import fail
from cli.output import note, print_facts, print_json, print_json_line, print_rows
from domain.errors import FailedPrecondition
from fieldbus.values import Identity

HOSTILE = "[/red] [bold]lamp[/bold] [link=http://x]y[/link] \x1b[2J\x1b]0;title\x07"


def test_a_table_shows_brackets_and_takes_the_sting_out_of_escapes(capsys):
    print_rows([{"name": HOSTILE, "level": 500}], as_json=False)
    shown = capsys.readouterr().out
    assert "[/red] [bold]lamp[/bold] [link=http://x]y[/link]" in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_so_do_facts(capsys):
    print_facts({"reason": HOSTILE}, as_json=False)
    shown = capsys.readouterr().out
    assert "[bold]lamp[/bold]" in shown
    assert "\x1b" not in shown


# What a device may call itself: a colour, a title for the window, the same with one character, and text turned around.
DEVICE = "\x1b[31mred \x1b]0;title\x07 \x9b31m \u202eevil \x7f\r"


@pytest.mark.parametrize("wanted", [False, True])
def test_no_word_of_a_device_reaches_the_terminal_as_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    monkeypatch.setattr("sys.argv", ["lichtbuch", *(["--json"] if wanted else [])])
    report(FailedPrecondition.of("endpoint", f"it is not the simulator but '{DEVICE}'"))
    note(f"last seen: {DEVICE}")
    print_json([{"value": DEVICE}])
    print_json_line({"value": DEVICE})
    print_rows([{"value": DEVICE}], wanted, title=DEVICE)
    with pytest.raises(Exit):
        fail(Advice("NO_ANSWER", DEVICE, "hint"))
    told = capsys.readouterr()
    for character in told.out + told.err:
        assert character.isprintable() or character == "\n"


def test_a_name_adds_no_line_that_looks_like_one_of_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["lichtbuch"])
    forged = "lamp\nlevel_actual[0]  100 %  good"
    print_rows([{"name": forged}], as_json=False)
    print_facts({"name": forged}, as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(Exit):
        fail(Advice("NO_ANSWER", forged, "hint"))
    assert len(capsys.readouterr().err.splitlines()) == 2


async def test_a_chain_of_models_that_leads_to_the_end_of_the_registers_names_nobody() -> None:
    unasked: Any = None
    assert await _sunspec_identity(unasked, "", 65_500) == Identity()


def test_json_says_what_the_device_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"value": DEVICE})
    assert json.loads(capsys.readouterr().out) == {"value": DEVICE}
