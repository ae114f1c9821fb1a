"""Names and reasons come from others: what they hold is shown as it is, neither obeyed nor stumbled over."""

from cli.output import print_facts, print_rows

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
