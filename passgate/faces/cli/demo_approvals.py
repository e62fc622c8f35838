"""Hold the script of the demo about approvals: who agrees, who can't, and what ends a request. Data only."""

from __future__ import annotations

from passgate.faces.cli.demo_script import Chapter, Clicks, Happens, Script, Types

POLICY = """\
# What the demo's policy says beyond what is shipped.
rules:
  # Whoever uses this VM has to agree, and operations as well: two people, whoever they are.
  - name: owners-agree
    vms: [win-01]
    approval:
      - {needed: 1, groups: [operations]}
      - {needed: 1, people: [dave]}
  - name: hurry
    vms: [lnx-01]
    approval: {needed: 1, groups: [operations]}
    approve_within: 6s
"""

CALENDAR = """\
freezes:
  - name: stocktaking
    text: Nobody touches the tills while they are counted, CHG0031555
    vms: [win-02]
    when:
      - {start: 2026-01-01 00:00, duration: 366d, rrule: FREQ=YEARLY}
    override: [operations]
"""

ATTACH = "passgate request usb-attach"
PLANNING = "reading the datacenter and planning"

APPROVALS = Script(
    config={"policies/15-demo.yaml": POLICY, "calendar/30-demo.yaml": CALENDAR},
    beats=(
        Chapter(
            "Two kinds of people have to agree",
            "Policy wants one approval of operations (Bob, Carol) and one of Dave, who owns win-01.",
        ),
        Types(
            "alice",
            f"{ATTACH} --vm win-01 --device 18a5:0302 --reason 'The nightly backup goes to this stick'",
            files="A",
            what=PLANNING,
        ),
        Types("alice", "passgate policy explain {A}"),
        Chapter("Nobody approves their own change", "Whatever door they use."),
        Types("alice", "passgate approve {A}", refused=True),
        Chapter("An approval can be taken back until the first step", "Bob approves, thinks again, and approves anew."),
        Clicks("bob", "A", "One of two."),
        Types("bob", "passgate retract {A} --reason 'Is the stick the right one?'"),
        Types("bob", "passgate approve {A} --reason 'It is'"),
        Clicks("dave", "A", "That is both."),
        Types("alice", "passgate watch {A}", what="working"),
        Chapter(
            "What was approved is what runs, or nothing",
            "Alice asks for a device in lnx-02, which is off. Before anybody decides, somebody powers it on.",
        ),
        Types(
            "alice",
            f"{ATTACH} --vm lnx-02 --device 18a5:0302 --reason 'Copy the old archive'",
            files="B",
            what=PLANNING,
        ),
        Happens("Somebody powers lnx-02 on in vCenter.", "vm", {"vm": "lnx-02", "power": "poweredOn"}),
        Clicks("carol", "B", "She approves the plan that she saw."),
        Types("alice", "passgate watch {B}", code=13, what="working"),
        Chapter("Nobody answers in time", "Policy gives this one six seconds. Expired is not denied."),
        Types(
            "alice",
            f"{ATTACH} --vm lnx-01 --device 0781:5583 --reason 'Fetch the logs'",
            files="C",
            what=PLANNING,
        ),
        Types("alice", "passgate watch {C}", code=11, what="waiting for nobody"),
        Types("bob", "passgate approve {C}", refused=True),
        Chapter(
            "A freeze stops what is approved",
            "win-02 is frozen while its tills are counted. Operations may let one change through, not their own.",
        ),
        Types("alice", "passgate calendar explain --for usb-attach@vm:win-02"),
        Types(
            "alice", f"{ATTACH} --vm win-02 --device 0951:1666 --reason 'The count needs it'", files="D", what=PLANNING
        ),
        Clicks("bob", "D", "Approved, and still it waits."),
        Types("alice", "passgate override {D} --freeze stocktaking --reason 'I need it'", refused=True),
        Types("carol", "passgate override {D} --freeze stocktaking --reason 'Agreed with the counters'"),
        Types("alice", "passgate watch {D}", what="working"),
        Chapter(
            "Three in the morning",
            "Nobody answers, and a licence server is down. Alice, on call, may break the glass, and answers for it.",
        ),
        Types(
            "alice",
            f"{ATTACH} --vm lnx-01 --device 0781:5583 --urgency break-glass --reason 'The licence server is down'",
            files="E",
            what=PLANNING,
        ),
        Types("alice", "passgate watch {E}", what="working"),
        Types(
            "alice",
            f"{ATTACH} --vm win-01 --device 0781:5583 --urgency break-glass --reason 'And another'",
            refused=True,
            what=PLANNING,
        ),
        Types("dave", "passgate review list"),
        Types("alice", "passgate review close {E} --verdict justified --reason 'I had to'", refused=True),
        Types("dave", "passgate review close {E} --verdict justified --reason 'Licences were down, nobody answered'"),
    ),
)
