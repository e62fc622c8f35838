"""Knock at every door in any order, and hold the lab's own log of mutating calls against the oracle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from passgate.model.change import Change, State
from tests.doors import Time
from tests.house import PEOPLE, House, until
from tests.oracle import APPROVE_WITHIN, GATED, LETTERS, ROTA, TARGETS, VOTERS, Asked, Freeze, Machine

ANYBODY = st.sampled_from((*PEOPLE, *sorted(VOTERS), *sorted(VOTERS)))
"""Anybody, and those most often whose votes may count."""
VERDICT = st.sampled_from(("approve", "approve", "approve", "deny"))
GATE = "host-reboot"
FORMER_NAMES = {"pair-02": "win-02"}
WAITS = {State.WAITING, State.APPROVED, State.SCHEDULED}


KNOWN = st.nothing()
"""Stands for any change that is known, as a strategy of an act."""

Act = Callable[..., Any]


def act(often: int = 1, **drawn: st.SearchStrategy[Any]) -> Callable[[Act], Act]:
    """Mark what somebody can do, with what it is done with, and how often it is done as others are done once."""

    def mark(function: Act) -> Act:
        function.often, function.drawn = often, drawn  # type: ignore[attr-defined]  # a mark that `Doors` looks for
        return function

    return mark


class Doors(RuleBasedStateMachine):
    """What people can do at the doors that Passgate has everywhere, in any order."""

    def __init__(self, house: House, time: Time, freeze: Freeze | None = None) -> None:
        super().__init__()
        self.house, self.time, self.freeze = house, time, freeze
        house.restart_world()
        for now, former in FORMER_NAMES.items():
            house.lab.control.rename_vm(former, now)
        self.machines = {vm: target.at_first for vm, target in TARGETS.items()}
        self.known: dict[str, Asked] = {}
        self.seen = 0
        self.at_shells = 0
        self.sound = False
        """Whether the lab's log was judged last, and rightly."""

    @rule(data=st.data())
    def knock(self, data: st.DataObject) -> None:
        """Do any act with anything. Rules of their own would be left out of whole examples, some of them of all."""
        names = sorted(name for name in dir(type(self)) if hasattr(getattr(type(self), name), "often"))
        names = [name for name in names for _ in range(getattr(self, name).often)]
        chosen = getattr(self, data.draw(st.sampled_from(names), "act"))
        known = st.sampled_from(tuple(self.known.values()))
        chosen(**{name: data.draw(known if one is KNOWN else one, name) for name, one in chosen.drawn.items()})

    def rest(self) -> None:
        """Wait until no run goes on by itself any more."""
        for asked in self.known.values():
            self.house.suspended(self.change(asked))

    def change(self, asked: Asked) -> Change:
        """Return the change as the store has it."""
        return self.house.store.change(asked.id)

    def click(self, asked: Asked, person: str, verdict: str, gate: str) -> None:
        """Click a button in Slack."""
        raise NotImplementedError

    def take_back(self, asked: Asked, person: str) -> None:
        """Let the oracle know that somebody takes their vote back."""
        asked.take_back(person, self.time.now)

    def filed(self, change: dict[str, Any], vm: str, *behind: str) -> Asked:
        """Note a change that was filed."""
        known = Asked(
            change["id"], vm, change["requester"]["person"], frozenset(behind), self.time.now + APPROVE_WITHIN,
            self.machines[vm], self.freeze,
        )  # fmt: skip
        known.over = State(change["state"]).is_end
        self.known[known.id] = known
        return known

    @act(person=st.sampled_from(PEOPLE), vm=st.sampled_from(sorted(TARGETS.keys() - {ROTA})))
    def ask(self, person: str, vm: str) -> Asked | None:
        """Ask for a change through the API; a VM that stands half done is not asked for."""
        target = TARGETS[vm]
        if vm == GATED and self.machines[vm] != target.at_first:
            return None
        body = {"vm": vm, "reason": "a test", **target.ask}
        answer = self.house.call(person, "POST", "/v1/changes", runbook=target.runbook, ask=body)
        if answer.is_error:
            return None  # such as a policy that nobody could satisfy, or a VM that has it already
        return self.filed(answer.json(), vm, person)

    @act(
        often=4,
        asked=KNOWN,
        person=ANYBODY,
        verdict=VERDICT,
        door=st.sampled_from(("api", "slack", "slack", "shell")),
        elsewhere=st.sampled_from((False, False, False, True)),
    )
    def decide(self, asked: Asked, person: str, verdict: str, door: str, elsewhere: bool) -> None:
        """Decide where the change waits, or `elsewhere`: at the other gate."""
        gate = GATE if asked.at_gate != elsewhere else "plan"
        if gate == "plan":
            asked.vote(person, verdict, self.time.now)
        else:
            asked.vote_at_gate(person, verdict, self.time.now)
        if door == "shell" and not self.at_shells:
            self.at_shells += 1  # a process takes its time
            self.house.passgate(verdict, asked.id, "--gate", gate, "--reason", "because", person=person)
        elif door == "slack":
            self.click(asked, person, verdict, gate)
        else:
            self.house.decide(person, self.change(asked), verdict, "because", gate)
        self.goes_on(asked)
        self.rest()

    @act(asked=KNOWN, person=ANYBODY, act=st.sampled_from(("retract", "withdraw", "approve another plan")))
    def turn(self, asked: Asked, person: str, act: str) -> None:
        """Take a decision or a change back, or approve a plan that is not the one that is there."""
        path, body = f"/v1/changes/{asked.id}/{act}", {"reason": "a second thought"}
        match act:
            case "retract":
                self.take_back(asked, person)
            case "withdraw":
                asked.withdraw(person)
            case _:
                path, body = f"/v1/changes/{asked.id}/decisions", {"verdict": "approve", "digest": "sha256:another"}
        self.house.call(person, "POST", path, **body)
        self.rest()

    @act(vm=st.sampled_from(sorted(TARGETS)))
    def alter_a_vm(self, vm: str) -> None:
        """Power a VM on or off behind Passgate's back: no plan for it as it was may be carried out."""
        machine = self.machines[vm]
        self.house.lab.control.set_vm(vm, power="poweredOff" if machine.on else "poweredOn")
        self.machines[vm] = Machine(not machine.on, machine.has)

    def goes_on(self, asked: Asked) -> None:
        """Wait until a change is taken up that may be, unless another one has its VM."""
        if any(one.at_gate and one.vm == asked.vm and one is not asked for one in self.known.values()):
            return
        if not asked.acted and asked.may_send(self.time.now, self.machines[asked.vm]):
            until(lambda: self.change(asked).state not in WAITS, f"{asked} is taken up, as it may be")

    @invariant()
    def nothing_was_done_without_authority(self) -> None:
        """R1, R2, R5, R6, R7, R9, R34: each call that the lab got is one that some change was let send, now and so."""
        self.sound = False
        touched = self.house.touched()
        new, self.seen = touched[self.seen :], len(touched)
        for vm in sorted({call["object"] for call in new}):
            calls = [call for call in new if call["object"] == vm]
            while calls:
                calls = calls[self._judged(vm, calls) :]
        self.time.now += timedelta(seconds=1)
        self.sound = True

    def _judged(self, vm: str, calls: list[dict[str, Any]]) -> int:
        """Return how many of the calls on a VM, from the first on, one change was let send; the oracle notes them."""
        assert vm in self.machines, f"{calls} reached the lab, and nobody ever asked for {vm}"
        machine, now = self.machines[vm], self.time.now
        word = "".join(LETTERS.get(call["method"], "?") for call in calls)
        of_it = [one for one in self.known.values() if one.vm == vm]
        # Where several were let do the same, it was one that does not wait any more.
        of_it.sort(key=lambda one: self.change(one).state in WAITS)
        doer = next((one for one in of_it if one.sends(word, now, machine)), None)
        assert doer, f"{[call['method'] for call in calls]} reached {vm}, {machine}, at {now}: nobody let it: {of_it}"
        count = doer.sends(word, now, machine)
        for letter, call in zip(word[:count], calls, strict=False):
            machine = machine.after(letter) if call["accepted"] else machine
        doer.did(now, machine)
        self.machines[vm] = machine
        return count
