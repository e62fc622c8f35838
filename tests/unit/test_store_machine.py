"""Promise: in whatever order things happen, one change holds a lease and one person counts once (DESIGN, promise 5)."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from passgate.errors import ConflictError
from passgate.ledger.verify import Proven
from passgate.model.decision import Verdict
from tests.record_story import AT, BOB, open_store, vote, waiting_change

RESOURCES = ("vm:1", "vm:2", "host:1")
SOME = st.lists(st.sampled_from(RESOURCES), min_size=1, unique=True)
WHO = st.integers(0, 2)


class Leases(RuleBasedStateMachine):
    """Three changes take, keep and lose leases while time goes on; a table of ours says what must be."""

    @initialize()
    def begin(self) -> None:
        """Open an empty store with three waiting changes."""
        self.folder = Path(tempfile.mkdtemp(prefix="passgate-leases-"))
        self.store = open_store(self.folder)
        self.changes = [waiting_change(self.store) for _ in range(3)]
        self.now = AT
        self.held: dict[str, tuple[str, int]] = {}
        self.until = dict.fromkeys(RESOURCES, AT)
        self.token = dict.fromkeys(RESOURCES, 0)
        self.voted: dict[tuple[str, str], list[Verdict]] = {}

    def teardown(self) -> None:
        """Verify the ledger of it all, and remove the store."""
        assert isinstance(self.store.verify(), Proven)
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(minutes=st.integers(1, 8))
    def wait(self, minutes: int) -> None:
        """Let time go on."""
        self.now += timedelta(minutes=minutes)

    @rule(who=WHO, resources=SOME, minutes=st.integers(1, 10))
    def take(self, who: int, resources: list[str], minutes: int) -> None:
        """Take leases: all or none, and never one that another change holds."""
        change = self.changes[who].id
        foreign = [each for each in resources if self.until[each] > self.now and self._holder(each) not in {"", change}]
        ttl = timedelta(minutes=minutes)
        if foreign:
            with pytest.raises(ConflictError) as refused:
                self.store.take_leases(change, resources, ttl, self.now)
            assert refused.value.subject in foreign
            return
        tokens = self.store.take_leases(change, resources, ttl, self.now)
        for resource in resources:
            assert tokens[resource] == self.token[resource] + 1
            self.token[resource] = tokens[resource]
            self.held[resource] = (change, tokens[resource])
            self.until[resource] = self.now + ttl

    @rule(who=WHO, minutes=st.integers(1, 10))
    def renew(self, who: int, minutes: int) -> None:
        """Hold on to what the change still has, never for a shorter time, and to nothing else."""
        change = self.changes[who].id
        mine = [each for each in RESOURCES if self._holder(each) == change]
        kept = self.store.renew_leases(change, timedelta(minutes=minutes), self.now)
        assert sorted(kept) == sorted(mine)
        self.until.update({one: max(self.until[one], self.now + timedelta(minutes=minutes)) for one in kept})

    @rule(who=WHO)
    def give_back(self, who: int) -> None:
        """Give all leases of a change back."""
        change = self.changes[who].id
        self.store.give_leases_back(change, self.now)
        self.held = {resource: holder for resource, holder in self.held.items() if holder[0] != change}

    @rule(who=WHO, person=st.sampled_from(("bob", "carol")), verdict=st.sampled_from(Verdict))
    def decide(self, who: int, person: str, verdict: Verdict) -> None:
        """Decide: a verdict stands until it is taken back, the same again is harmless, another is refused."""
        change = self.changes[who]
        trail = self.voted.setdefault((change.id, person), [])
        stands = trail[-1] if trail and trail[-1] is not Verdict.RETRACT else None
        is_again = bool(trail) and trail[-1] is verdict
        is_refused = not is_again and (stands is None) is (verdict is Verdict.RETRACT)
        try:
            is_new = self.store.decide(vote(change, person, verdict, self.now), BOB)
        except ConflictError:
            assert is_refused
        else:
            assert not is_refused
            assert is_new is not is_again
            trail.extend([verdict] if is_new else [])

    @invariant()
    def one_holder_at_a_time(self) -> None:
        """Hold a token good for the one change that has it, while it lasts, and no older token ever."""
        for resource in RESOURCES if hasattr(self, "store") else ():
            for change in self.changes:
                for token in range(1, self.token[resource] + 1):
                    expected = self.held.get(resource) == (change.id, token) and self.until[resource] > self.now
                    assert self.store.lease_holds(change.id, resource, token, self.now) == expected

    @invariant()
    def a_person_counts_once(self) -> None:
        """Keep of each person all that they decided, in its order; at most one of it stands."""
        for change in self.changes if hasattr(self, "store") else ():
            kept: dict[tuple[str, str], list[Verdict]] = {}
            for one in self.store.decisions(change.id):
                kept.setdefault((one.change, one.person), []).append(one.verdict)
            assert kept == {place: trail for place, trail in self.voted.items() if place[0] == change.id and trail}

    def _holder(self, resource: str) -> str:
        return self.held.get(resource, ("", 0))[0]


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
