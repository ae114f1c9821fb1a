"""How a test drives a server of another make in its own process: one JSON object per line in, one per line out.

{"do": "name", ...arguments} is answered by {"ok": result} or {"error": "text"}. The process ends with its input.
Runs in the peers' own environment, so it knows nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def obey(commands: dict[str, Callable[..., Any]]) -> None:
    """Carry out what is asked until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = {"ok": commands[arguments.pop("do")](**arguments)}
        except Exception as error:
            answer = {"error": repr(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # some libraries' threads would keep the process
