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

ATTACH = "passgate request usb-attach"

APPROVALS = Script(
    config={"policies/15-demo.yaml": POLICY},
    beats=(
        Chapter(
            "Two kinds of people have to agree",
            "Policy wants one approval of operations (Bob, Carol) and one of Dave, who owns win-01.",
        ),
        Types(
            "alice",
            f"{ATTACH} --vm win-01 --device 18a5:0302 --reason 'The nightly backup goes to this stick'",
            files="A",
            what="reading the datacenter and planning",
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
            what="reading the datacenter and planning",
        ),
        Happens("Somebody powers lnx-02 on in vCenter.", "vm", {"vm": "lnx-02", "power": "poweredOn"}),
        Clicks("carol", "B", "She approves the plan that she saw."),
        Types("alice", "passgate watch {B}", code=13, what="working"),
        Chapter("Nobody answers in time", "Policy gives this one six seconds. Expired is not denied."),
        Types(
            "alice",
            f"{ATTACH} --vm lnx-01 --device 0781:5583 --reason 'Fetch the logs'",
            files="C",
            what="reading the datacenter and planning",
        ),
        Types("alice", "passgate watch {C}", code=11, what="waiting for nobody"),
        Types("bob", "passgate approve {C}", refused=True),
    ),
)
