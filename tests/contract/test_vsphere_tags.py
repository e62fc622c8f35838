"""Read vSphere tags from the lab, and from govmomi's simulator: other people's idea of the vSphere Automation API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from passgate.connect.vsphere.session import trusting
from passgate.connect.vsphere.tags import FORMS, Tags, require_tags
from passgate.errors import LoginError, TrustError, UnreachableError, UnsupportedError
from passgate.lab import tls
from tests.contract.vsphere_places import Place, esx, govmomi, lab

OLDER = FORMS[1]
PRODUCTION, WINDOWS = "Environment/Production", "Guest/Windows"


def reader(place: Place, **other: Any) -> Tags:
    """Return a reader of that place's tags, with another password or trust if given."""
    at = place.endpoint
    return Tags(
        at.url, user=at.user, password=lambda: other.get("password", at.password), ca=other.get("ca", at.ca), timeout=20
    )


def tag_in_lab(place: Place, on: dict[str, tuple[str, ...]]) -> None:
    """Let things of the lab bear tags, by managed object id."""
    assert place.world is not None
    for ref, names in on.items():
        one = place.world.vm(ref) if ref.startswith("vm-") else place.world.host(ref)
        one.tags[:] = names


def tag_in_govmomi(place: Place, on: dict[str, tuple[str, ...]]) -> None:
    """Make tags in govmomi's simulator by its own API, and attach them."""
    at, tagging = place.endpoint, f"{OLDER.base}/com/vmware/cis/tagging"
    with httpx.Client(base_url=at.url, verify=trusting(at.ca), auth=(at.user, at.password)) as http:
        made: dict[str, str] = {}

        def post(path: str, body: Any = None, **query: str) -> Any:
            answer = http.post(path, json=body, params=query)
            answer.raise_for_status()
            return answer.json().get("value") if answer.content else None

        http.headers["vmware-api-session-id"] = post(OLDER.session)
        for name in sorted({one for names in on.values() for one in names}):
            category, _, tag = name.partition("/")
            if category not in made:
                spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
                made[category] = post(f"{tagging}/category", {"create_spec": spec})
            spec = {"name": tag, "description": "", "category_id": made[category]}
            made[name] = post(f"{tagging}/tag", {"create_spec": spec})
        for ref, names in on.items():
            kind = "VirtualMachine" if ref.startswith("vm-") else "HostSystem"
            for name in names:
                thing = {"object_id": {"type": kind, "id": ref}}
                post(f"{tagging}/tag-association/id:{made[name]}", thing, **{OLDER.action: "attach"})


BOTH = [(lab, tag_in_lab), (govmomi, tag_in_govmomi)]


@pytest.mark.parametrize(("at", "tag"), BOTH, ids=["lab", "govmomi"])
def test_reads_the_tags_of_the_things_that_are_asked_for(at: Callable[..., Any], tag: Any, tmp_path: Path) -> None:
    """Each thing has the tags that it bears, as Category/Name, none of others; one without has none."""
    with at(tmp_path) as place:
        site = place.read(vms=(place.vm,))
        vm, other = site.vm(place.vm), next(one for one in site.vms if one.name != place.vm)
        tag(place, {vm.ref: (WINDOWS, PRODUCTION), vm.host.ref: (PRODUCTION,), other.ref: ("Guest/Linux",)})
        bare = next(one.ref for one in site.hosts if one.ref != vm.host.ref)

        found = reader(place).of([vm.ref], [vm.host.ref, bare])

    assert found == {vm.ref: (PRODUCTION, WINDOWS), vm.host.ref: (PRODUCTION,), bare: ()}


def test_asks_in_few_round_trips_and_leaves_no_session(tmp_path: Path) -> None:
    """One for all objects, one for each tag and category, however many VMs bear them; the session is ended."""
    with lab(tmp_path) as place:
        assert place.world is not None
        vms, hosts = [vm.ref for vm in place.world.vms], [host.ref for host in place.world.hosts]
        tag_in_lab(place, dict.fromkeys((*vms, *hosts), (PRODUCTION,)))
        tags = reader(place)
        sent: list[str] = []
        tags.heard = lambda answer: sent.append(f"{answer.request.method} {answer.status_code}")

        assert set(tags.of(vms, hosts).values()) == {(PRODUCTION,)}

    assert sent == ["POST 201", "POST 200", "GET 200", "GET 200", "DELETE 204"]


def test_what_can_not_be_read_is_never_taken_for_no_tags(tmp_path: Path) -> None:
    """A wrong password, a stranger's certificate and a server that is away are errors of their own."""
    (tmp_path / "other").mkdir()
    with lab(tmp_path) as place:
        with pytest.raises(LoginError, match="does not let admin in"):
            reader(place, password="wrong").of(["vm-101"], [])
        stranger = tls.make_ca(tmp_path / "other").cert.read_text()
        with pytest.raises(TrustError, match="not trusted"):
            reader(place, ca=stranger).of(["vm-101"], [])
    with pytest.raises(UnreachableError, match="does not answer"):
        reader(place).of(["vm-101"], [])


def test_refuses_servers_that_have_none_by_name() -> None:
    """An ESXi host alone, and a vCenter that is too old, are named; nothing is sent to them."""
    with pytest.raises(UnsupportedError, match="is an ESXi host without a vCenter"):
        require_tags("8.0.2.0", standalone=True, address="esx:443")
    with pytest.raises(UnsupportedError, match=r"speaks the API 6\.7, too old"):
        require_tags("6.7", standalone=False, address="vc:443")
    require_tags("7.0.0.0", standalone=False, address="vc:443")


def test_a_server_without_the_api_is_told_so(tmp_path: Path) -> None:
    """Where neither form of the API answers, that is said: it is not an empty answer."""
    with esx(tmp_path) as place, pytest.raises(UnsupportedError, match="has no vSphere Automation API"):
        reader(place).of(["1"], [])
