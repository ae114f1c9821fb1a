"""lichtbuch field ...: a fitter's laptop against a device, offline of all services. What they do is cli/field."""

from __future__ import annotations

import typer

from cli.field import checking, lamps, reading, scan, watching, writing
from cli.options import Json
from cli.output import print_rows
from fieldbus.profile_loader import load_profile, profile_names

app = typer.Typer(
    help="Talk to a field device directly.",
    epilog="Exit codes: 0 done, 1 a profile is wrong, 2 wrong use or input, 3 a part, 4 nothing answered, 5 refused. "
    "See docs/field-tool.md.",
    no_args_is_help=True,
)
app.command("scan")(scan.scan)
app.command("read")(reading.read)
app.command("write")(writing.write)
app.command("watch")(watching.watch)
app.command("identify")(lamps.identify)
app.command("profile-check")(checking.profile_check)


@app.command("profiles")
def profiles(as_json: Json = False) -> None:
    """List the device profiles that come with Lichtbuch."""
    rows = []
    for name in profile_names():
        profile = load_profile(name)
        rows.append(
            {
                "profile": name,
                "kind": profile.kind,
                "product": f"{profile.vendor} {profile.product}".strip(),
                "protocol": profile.protocol.value,
                "points": len(profile.points),
            }
        )
    print_rows(rows, as_json)
