"""Hold the script of the demo about schedules: the backup disk in a VM over the weekend, and drift. Data only.

The clock's part is played by `passgate schedule run`: what it files is what the schedule would file when it is due.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from passgate.faces.cli.demo_script import Chapter, Clicks, Passes, Script, Types

IN_TWO_MONTHS = f"{datetime.now(UTC) + timedelta(days=60):%Y-%m-%d}"
FRIDAY, MONDAY = "passgate schedule run backup-disk-friday", "passgate schedule run backup-disk-monday"
PLANNING = "reading the datacenter and planning"

WEEK = Passes("A week goes by, in which win-01 boots: here 8 seconds.", 8.0)

SCHEDULES = Script(
    config={},
    beats=(
        Chapter(
            "The backup disk belongs into win-01 over the weekend only",
            "config/schedules/ holds two schedules in Alice's name, and one that looks for drift. They are paused as\n"
            "shipped; here their runs are filed by hand, as they would be on Friday at 18:00 and on Monday at 06:00.",
        ),
        Types("alice", "passgate schedule list"),
        Types("alice", "passgate schedule show backup-disk-friday"),
        Chapter("Friday", "The schedule asks in Alice's name. So she can't approve it, nor can who ran it by hand."),
        Types("dave", FRIDAY, files="A", what=PLANNING),
        Types("alice", "passgate approve {A}", refused=True),
        Types("bob", "passgate approve {A} --reason 'Backup of the weekend'"),
        Types("dave", "passgate watch {A}", what="working"),
        Chapter("Monday", "Carol approves in Slack."),
        Passes("A weekend goes by: here 8 seconds.", 8.0),
        Types("dave", MONDAY, files="B", what=PLANNING),
        Clicks("carol", "B", "The disk leaves win-01."),
        Types("dave", "passgate watch {B}", what="working"),
        WEEK,
        Chapter(
            "The Friday after",
            "The USB controller of the first time is still there, so there is less to do. Bob lets his approval stand\n"
            "for later runs with the very same plan.",
        ),
        Types("dave", FRIDAY, files="C", what=PLANNING),
        Types("bob", f"passgate approve {{C}} --standing-until {IN_TWO_MONTHS}"),
        Types("dave", "passgate watch {C}", what="working"),
        Passes("Another weekend.", 8.0),
        Types("dave", MONDAY, files="D", what=PLANNING),
        Clicks("carol", "D", "Once more."),
        Types("dave", "passgate watch {D}", what="working"),
        WEEK,
        Chapter("The third Friday", "The plan is the very same, so Bob's approval stands for it. Nobody is asked."),
        Types("dave", FRIDAY, files="E", what=PLANNING),
        Types("dave", "passgate watch {E}", what="working"),
        Types("dave", "passgate show {E}"),
        Types("carol", "passgate schedule revoke backup-disk-friday"),
        Chapter("Is everything where it belongs?", "config/attachments.yaml says that the stick belongs to win-01."),
        Types("alice", "passgate request usb-drift --reason 'After the weekend'", files="F"),
        Types("alice", "passgate watch {F}", what="reading all hosts"),
    ),
)
