"""Run `passgate`: find the command, run it, write its answers, and turn every error into words and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from cyclopts import App, CycloptsError

from passgate import __version__
from passgate.errors import InputError, PassgateError
from passgate.faces.cli import calendar, census, changes, doctor, policy, processes, records, reviews, schedules
from passgate.faces.cli.demo import demo
from passgate.faces.cli.terminal import Answer, show, show_error

BY_RUNBOOK = {
    "plan": "Plan a change on paper: nothing is filed and nothing touched.",
    "request": "File a change by running a runbook; it waits for the decisions that policy asks for.",
}
Command = Callable[..., Iterator[Answer]]
COMMANDS: dict[str, Command] = {
    "approve": changes.approve,
    "deny": changes.deny,
    "retract": changes.retract,
    "withdraw": changes.withdraw,
    "again": changes.again,
    "override": calendar.override,
    "list": changes.list_changes,
    "show": changes.show,
    "watch": changes.watch,
    "census": census.census,
    "up": processes.up,
    "down": processes.down,
    "status": processes.status,
    "doctor": doctor.doctor,
    "demo": demo,
}
GROUPS: dict[str, tuple[str, dict[str, Command]]] = {
    "runbook": ("Look at the runbooks of this site.", {"list": changes.runbook_list, "show": changes.runbook_show}),
    "calendar": ("Ask when changes may be applied.", {"explain": calendar.explain}),
    "usb": ("Look at the USB devices of the hosts.", {"list": changes.usb_list}),
    "schedule": (
        "Ask for a change again and again.",
        {
            "list": schedules.list_schedules,
            "show": schedules.show,
            "pause": schedules.pause,
            "resume": schedules.resume,
            "run": schedules.run,
            "revoke": schedules.revoke,
            "remove": schedules.remove,
        },
    ),
    "policy": ("Ask what policy wants.", {"explain": policy.explain}),
    "review": (
        "Review what was begun without approval.",
        {"list": reviews.list_reviews, "show": reviews.show, "close": reviews.close},
    ),
    "lab": (
        "Run the simulated datacenter.",
        {"start": processes.lab_start, "stop": processes.lab_stop, "status": processes.lab_status},
    ),
    "ledger": (
        "Check the record of everything that happened.",
        {"verify": records.ledger_verify, "key": records.ledger_key},
    ),
    "evidence": (
        "Fetch and check the evidence of a change.",
        {"fetch": changes.evidence_fetch, "verify": records.evidence_verify},
    ),
    "token": ("Give people access, and take it back.", {"issue": records.token_issue, "revoke": records.token_revoke}),
}
ADDING = (
    "Add a schedule: NAME, its times, RUNBOOK, and the runbook's own options.\n\n"
    "Times: --cron, or --rrule with --first; --zone, --ends. What else: --missed, --overlap, --late, --text, --paused. "
    "Each is described with a runbook: `passgate schedule add usb-attach --help`."
)
EPILOGUE = (
    "With every command, --json writes only JSON to standard output.\n\n"
    "Exit codes: 0 done, 1 not foreseen, 2 input, 3 check not met, 4 not allowed, 5 the world, 6 conflict, 7 record; "
    "of a followed change: 10 denied, 11 expired, 12 withdrawn, 13 void, 14 undone, 15 stopped."
)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a VM's name is no reason to fail.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    words, as_json = _without_json(given)
    try:
        return _run(words, as_json=as_json)
    except PassgateError as error:
        show_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has left; keep the interpreter from complaining when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # a traceback helps nobody at a shell; PASSGATE_DEBUG shows it to who mends Passgate
        if os.environ.get("PASSGATE_DEBUG"):
            raise
        unforeseen = PassgateError(
            f"Passgate failed in a way that was not foreseen: {type(error).__name__}.",
            hint="What was asked may or may not have happened: look before repeating. PASSGATE_DEBUG=1 shows more.",
        )
        show_error(unforeseen, as_json=as_json)
        return unforeseen.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted. What was asked of the service goes on: see `passgate list`.", file=sys.stderr)
        return INTERRUPTED


def build(words: Sequence[str]) -> App:
    """Return the command tree; runbooks are read only where the words lead to them."""
    app = App(
        name="passgate",
        help="Run change-managed USB and PCI passthrough procedures on VMware hosts.",
        help_epilogue=EPILOGUE,
        version=f"passgate {__version__}",
        result_action="return_value",
    )
    for verb, text in BY_RUNBOOK.items():
        runbooks = App(name=verb, help=text)
        if words[:1] == [verb]:
            from passgate.faces.cli.asks import add_runbooks

            add_runbooks(runbooks, verb)
        app.command(runbooks)
    for name, command in COMMANDS.items():
        app.command(command, name=name)
    for name, (text, commands) in GROUPS.items():
        group = App(name=name, help=text)
        for verb, command in commands.items():
            group.command(command, name=verb)
        if name == "schedule":
            adding = App(name="add", help=ADDING)
            if words[:2] == ["schedule", "add"]:
                from passgate.faces.cli.asks import add_runbooks

                add_runbooks(adding, "schedule")
            group.command(adding)
        app.command(group)
    return app


def _run(words: list[str], *, as_json: bool) -> int:
    if any(not _is_text(word) for word in words):
        raise InputError("The command line holds bytes that are not UTF-8.", hint="Check your terminal's encoding.")
    app = build(words)
    if words[:2] == ["schedule", "add"]:
        from passgate.faces.cli.asks import runbook_first

        words = runbook_first(words)
    try:
        answers = app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise InputError(str(error).strip(), hint=f"See `{_path(error)} --help`.") from None
    code = 0
    for answer in answers if answers is not None else ():
        show(answer, as_json=as_json)
        code = answer.exit_code
    return code


def _without_json(given: list[str]) -> tuple[list[str], bool]:
    """Take `--json` out, wherever it stands before a bare `--`."""
    end = given.index("--") if "--" in given else len(given)
    return [word for place, word in enumerate(given) if word != "--json" or place > end], "--json" in given[:end]


def _path(error: CycloptsError) -> str:
    return " ".join(("passgate", *(error.command_chain or ())))


def _is_text(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
