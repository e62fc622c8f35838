"""Hold the VMX procedure to one contract on the lab's shell and on OpenSSH with busybox: one whole file at any moment.

What somebody else does in between is done inside the authority's own call, which comes right before a line goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passgate.connect.esxi_shell import EsxiShell, ShellAccess
from passgate.connect.esxi_shell.wire import Wire
from passgate.errors import NotAuthorizedError, RefusedError, UnreachableError
from passgate.lab.esxi import EXEC, EsxiShells
from passgate.lab.hardware import Fault
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.smartcards import ALLOW
from tests.contract.esxi_of_openssh import HOST, openssh
from tests.contract.vmx_places import BUSYBOX, LabPlace, OpenSshPlace, Place
from tests.independent.parts import missing

LINE = b'usb.generic.allowCCID = "TRUE"'
Act = Callable[[str, str], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that sshd's fixture works in."""
    made = tmp_path_factory.mktemp("esxi")
    OpenSshPlace.prepare(made)
    return made


@pytest.fixture(scope="module")
def access(folder: Path) -> Iterator[ShellAccess]:
    """Run sshd on that folder."""
    with openssh(folder) as access:
        yield access


@pytest.fixture
def lab() -> Iterator[LabPlace]:
    """Serve lnx-02 by the lab."""
    world = seeded_world()
    shells = EsxiShells(world)
    shells.start()
    yield LabPlace(world, ShellAccess(
        user="root", key=shells.private_key, known_hosts=shells.known_hosts, addresses=shells.addresses,
        timeout=timedelta(seconds=10),
    ))  # fmt: skip
    shells.stop()
    world.close()


@pytest.fixture
def real(request: pytest.FixtureRequest) -> OpenSshPlace:
    """Serve a VM by OpenSSH and busybox."""
    if BUSYBOX is None:
        missing("There is no busybox here", "install Debian's busybox or busybox-static")
    return OpenSshPlace(request.getfixturevalue("folder"), request.getfixturevalue("access"), HOST)


@pytest.fixture(params=["lab", "real"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each place in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found


def acting(place: Place, before: dict[str, Callable[[], None]] | None = None) -> tuple[EsxiShell, list[str]]:
    """Return a shell that may act, and what it asked for; `before` is what happens just before an action goes out."""
    asked: list[str] = []

    def authorize(action: str, subject: str) -> None:
        assert subject == f"vm:{place.vm.ref}"
        asked.append(action)
        (before or {}).get(action, lambda: None)()

    return place.shell(authorize), asked


def test_one_line_is_added_and_taken_away_and_nothing_else(place: Place) -> None:
    """The file is exchanged, hostd reads it, a copy of the former one stays; repeated, nothing is written."""
    before = place.content()
    shell, asked = acting(place)

    shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")

    assert asked == ["write_vmx_file", "set_vm_setting", "reload_vm"]
    assert shell.vm_setting(place.vm, place.path, ALLOW) == "TRUE"
    assert place.content().startswith(before)
    assert place.content().count(LINE) == 1
    assert list(place.beside().values()) == [before]
    assert place.reloads() == 1

    asked.clear()
    shell.set_vm_setting(place.vm, place.path, ALLOW.upper(), "TRUE")
    assert asked == ["reload_vm"]  # hostd may not have read it: that costs nothing

    shell.set_vm_setting(place.vm, place.path, ALLOW, None)
    assert shell.vm_setting(place.vm, place.path, ALLOW) is None
    assert place.content().rstrip(b"\r\n") == before.rstrip(b"\r\n")
    shell.close()


def test_a_value_that_was_there_is_changed_in_its_line_and_put_back(place: Place) -> None:
    """FALSE becomes TRUE and FALSE again, byte for byte, comment and line end too."""
    place.write(b'a = "1"\r\nUSB.generic.allowCCID = "FALSE" # by hand\r\n')
    before = place.content()
    shell, _ = acting(place)

    shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")
    assert place.content() == before.replace(b"FALSE", b"TRUE")
    shell.set_vm_setting(place.vm, place.path, ALLOW, "FALSE")
    assert place.content() == before
    shell.close()


def test_without_authority_nothing_is_written(place: Place) -> None:
    """The first line that would write asks first."""
    before = place.content()

    def refuse(action: str, subject: str) -> None:
        raise NotAuthorizedError(f"{action} on {subject}")

    shell = place.shell(refuse)
    with pytest.raises(NotAuthorizedError, match="write_vmx_file on vm:"):
        shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")
    assert (place.content(), place.beside(), place.reloads()) == (before, {}, 0)
    shell.close()


@pytest.mark.parametrize(
    ("what", "said"),
    [("changes", "somebody changed it meanwhile"), ("is powered on", "the VM was powered on meanwhile")],
)
def test_what_happens_meanwhile_is_noticed(place: Place, what: str, said: str) -> None:
    """A file that changed, or a VM that was powered on, between reading and exchange keeps its file."""
    other = place.content() + b'\nsomebody = "else"\n'
    does = {"changes": lambda: place.write(other), "is powered on": lambda: place.power(on=True)}[what]
    before = place.content()
    shell, asked = acting(place, {"set_vm_setting": does})

    with pytest.raises(RefusedError, match=said):
        shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")

    assert place.content() == (other if what == "changes" else before)
    assert asked[-1] == "remove_file"
    assert place.beside() == {}
    assert place.reloads() == 0
    shell.close()


def test_a_vm_that_is_on_or_not_registered_here_is_left_alone(place: Place) -> None:
    """Both are seen before anything is written, and told apart."""
    shell, asked = acting(place)
    place.power(on=True)
    with pytest.raises(RefusedError, match="not off"):
        shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")
    place.power(on=False)
    place.unregister()
    with pytest.raises(RefusedError, match="has no VMs registered"):
        shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")
    assert asked == []
    shell.close()


def test_an_unclear_file_is_refused_before_anything_is_written(place: Place) -> None:
    """A key that stands twice is neither read nor mended."""
    place.write(LINE + b"\n" + LINE + b"\n")
    shell, asked = acting(place)
    with pytest.raises(RefusedError, match="lines 1, 2"):
        shell.set_vm_setting(place.vm, place.path, ALLOW, "TRUE")
    assert asked == []
    shell.close()


def test_a_file_that_is_not_there(place: Place) -> None:
    """The host's own words are told."""
    shell, _ = acting(place)
    with pytest.raises(RefusedError, match="can't be read"):
        shell.vm_setting(place.vm, "[datastore1] nowhere/x.vmx", ALLOW)
    shell.close()


def test_mode_and_name_survive_a_real_shell(real: OpenSshPlace) -> None:
    """The new file has the old one's mode, and no part of a hostile name is ever run."""
    shell, _ = acting(real)
    shell.set_vm_setting(real.vm, real.path, ALLOW, "TRUE")
    assert real.mode == 0o640
    assert not real.was_broken_out_of
    shell.close()


def test_a_tool_that_fails_keeps_the_file(real: OpenSshPlace) -> None:
    """A host whose vim-cmd is gone at the exchange tells so in its own words; nothing was exchanged."""
    before = real.content()
    shell, asked = acting(real, {"set_vm_setting": real.forget_vim_cmd})
    with pytest.raises(RefusedError, match="vim-cmd: not found"):
        shell.set_vm_setting(real.vm, real.path, ALLOW, "TRUE")
    assert real.content() == before
    assert asked[-1] == "remove_file"
    shell.close()


def test_a_connection_lost_after_the_exchange_is_found_at_the_next_look(lab: LabPlace) -> None:
    """The answer is lost, the exchange is not: the next attempt only has hostd read the file."""

    def lose() -> None:
        lab.world.inject(Fault(EXEC, fault="DisconnectAfter"))

    shell, asked = acting(lab, {"set_vm_setting": lose})
    with pytest.raises(UnreachableError):
        shell.set_vm_setting(lab.vm, lab.path, ALLOW, "TRUE")
    assert lab.content().count(LINE) == 1
    assert ALLOW not in lab.lab_vm.extra_config

    asked.clear()
    shell.set_vm_setting(lab.vm, lab.path, ALLOW, "TRUE")
    assert asked == ["reload_vm"]
    assert lab.lab_vm.extra_config[ALLOW] == "TRUE"
    shell.close()


def test_a_file_that_arrives_in_part_is_not_put_in_place(lab: LabPlace) -> None:
    """The new file is compared with what was sent before it takes the old one's place."""
    before = lab.content()

    def spoil() -> None:
        world = lab.world
        (name,) = [one for one in world.datastore.names() if one.endswith("-new")]
        world.datastore.write(name, b"half")

    shell, _ = acting(lab, {"set_vm_setting": spoil})
    with pytest.raises(UnreachableError, match="did not arrive whole"):
        shell.set_vm_setting(lab.vm, lab.path, ALLOW, "TRUE")
    assert lab.content() == before
    assert lab.beside() == {}
    shell.close()


def test_a_command_that_does_not_read_its_input_tells_its_status(place: Place) -> None:
    """Such an end is no broken connection: that would be tried again, and its reason be lost."""
    wire = Wire(place.access, place.vm.host.name)
    for _ in range(3):
        assert wire.run("false", stdin=b"x" * 4_000_000).status == 1
    wire.close()
