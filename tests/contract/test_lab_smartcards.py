"""The lab keeps smart-card readers as ESXi does, and its datastore's files are hostd's (vsphere.md 3.6, 6.1 no. 28)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from passgate.lab.esxi_commands import HostTools
from passgate.lab.esxi_shell import Output
from passgate.lab.inventory_seed import seeded_world
from passgate.lab.reboot import boot
from passgate.lab.smartcards import ALLOW, SYMPTOM
from passgate.lab.vmfs import VOLUME, reload
from passgate.lab.world import World
from tests.contract.lab_vcenter import Lab, running_lab, stick, within, xhci

READER = "path:0/1/4"
VMX = f"{VOLUME}/vm-104/vm-104.vmx"
Run = Callable[..., Output]


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world of its own."""
    made = seeded_world()
    yield made
    made.close()


@pytest.fixture
def on_esx_03(world: World) -> Run:
    """Return the shell of esx-03, where lnx-02 is and people log in with smart cards."""
    return lambda line, stdin="": HostTools(world, world.hosts[2], "root").run(line, lambda: stdin)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab of the test's own, whose esx-03 has its arbitrator running."""
    with running_lab(tmp_path) as lab:
        lab.world.start_arbitrator(lab.world.hosts[2])
        yield lab


def services(lab: Lab) -> vim.host.ServiceSystem:
    """Return the services of esx-03."""
    host = lab.world.hosts[2]
    return vim.HostSystem(host.ref, lab.vm("lnx-02")._stub).configManager.serviceSystem


def offered(lab: Lab) -> list[str]:
    """Return the paths that esx-03's arbitrator offers."""
    return sorted(one.device.pattern for one in lab.world.offered_usb(lab.world.hosts[2]))


def option(key: str, value: str) -> vim.vm.ConfigSpec:
    """Return a spec that sets one line of extra configuration."""
    return vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=key, value=value)])


def pcscd(lab: Lab) -> tuple[bool, str]:
    """Return what vCenter says of pcscd: running, and its policy."""
    found = next(one for one in services(lab).serviceInfo.service if one.key == "pcscd")
    return found.running, found.policy


def test_a_reader_is_offered_only_while_pcscd_stands_still(lab: Lab) -> None:
    """Stopped over either wire, it is the same service: the reader is offered, and kept again after a start."""
    shell = HostTools(lab.world, lab.world.hosts[2], "root")
    assert READER not in offered(lab)
    services(lab).StopService(id="pcscd")
    assert shell.run("/etc/init.d/pcscd status").out == "pcscd is stopped\n"
    assert shell.run("ps | grep pcscd").status == 1
    assert READER in offered(lab)
    shell.run("/etc/init.d/pcscd start")
    assert pcscd(lab) == (True, "on")
    assert READER not in offered(lab)
    shell.run("chkconfig pcscd off")
    assert pcscd(lab) == (True, "off")


def test_a_vm_without_the_key_does_not_get_the_reader_and_its_log_says_the_symptom(lab: Lab) -> None:
    """The configuration takes the device, the power-on succeeds, and still nothing is connected: the article's case."""
    services(lab).StopService(id="pcscd")
    lab.reconfigure("lnx-02", ("add", xhci()), ("add", stick(READER)))
    WaitForTask(lab.vm("lnx-02").PowerOnVM_Task())
    log = HostTools(lab.world, lab.world.hosts[2], "root").run(f"cat {VOLUME}/vm-104/vmware.log").out
    assert SYMPTOM in log
    assert not any(one.connected for one in lab.usb("lnx-02"))
    with pytest.raises(vim.fault.InvalidPowerState):
        WaitForTask(lab.vm("lnx-02").ReconfigVM_Task(option(ALLOW, "TRUE")))
    WaitForTask(lab.vm("lnx-02").PowerOffVM_Task())
    WaitForTask(lab.vm("lnx-02").ReconfigVM_Task(option(ALLOW, "TRUE")))
    WaitForTask(lab.vm("lnx-02").PowerOnVM_Task())
    assert within(lambda: any(one.connected for one in lab.usb("lnx-02")))
    services(lab).StartService(id="pcscd")
    assert within(lambda: not any(one.connected for one in lab.usb("lnx-02")))


def test_a_boot_starts_what_its_policy_says(world: World) -> None:
    """A pcscd that was only stopped runs again after the host's next boot; one whose policy is off does not."""
    host = world.hosts[2]
    host.services["pcscd"].running = False
    boot(world, host)
    assert host.services["pcscd"].running
    host.services["pcscd"].policy = "off"
    boot(world, host)
    assert not host.services["pcscd"].running


def test_the_vmx_file_is_hostds_and_an_edit_counts_after_a_reload(world: World, on_esx_03: Run) -> None:
    """An edit stands in the file byte for byte, is seen by vCenter after a reload, and hostd keeps it from then on."""
    vm = world.vm("lnx-02")
    text = on_esx_03(f"cat {VMX}").out
    edit = f'{text}# mine\r\n{ALLOW} = "TRUE"\n'
    assert on_esx_03(f"cat > '{VMX}.new' && mv '{VMX}.new' '{VMX}'", edit) == Output()
    assert on_esx_03(f"cat {VMX}").out == edit
    assert ALLOW not in vm.extra_config
    assert on_esx_03("vim-cmd vmsvc/reload 4") == Output()
    assert vm.extra_config[ALLOW] == "TRUE"
    world.set_power(vm, "poweredOn")
    assert "# mine" not in on_esx_03(f"cat {VMX}").out
    assert f'{ALLOW} = "TRUE"\n' in on_esx_03(f"cat {VMX}").out
    assert [one.method.split(" ")[0] for one in world.mutations] == [">", "mv", "vim-cmd"]


def test_an_edit_that_nobody_reloads_is_lost(world: World, on_esx_03: Run) -> None:
    """Hostd writes its own view over it."""
    on_esx_03(f"cat > {VMX}", f'{ALLOW} = "TRUE"\n')
    world.set_power(world.vm("lnx-02"), "poweredOn")
    assert ALLOW not in on_esx_03(f"cat {VMX}").out


@pytest.mark.parametrize("text", ['a = "1"\nA = "2"\n', 'a = "1\n', "no line at all\n"])
def test_a_file_that_hostd_can_not_read_makes_the_vm_invalid(world: World, text: str) -> None:
    """A duplicate or malformed line is a syntax error to hostd, not something to pass over."""
    vm = world.vm("lnx-02")
    vm.vmx_file = text.encode()
    reload(vm)
    assert vm.connection == "invalid"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vim-cmd vmsvc/power.getstate 4", Output("Retrieved runtime info\nPowered off\n")),
        ("vim-cmd vmsvc/power.getstate 1", Output("", "Unable to find a VM corresponding to '1'\n", 1)),
        ("vim-cmd vmsvc/reload", Output("", "Insufficient arguments.\n", 1)),
        ("vim-cmd vmsvc/destroy 4", Output("", "Invalid command.\n", 1)),
        (f"test -f {VMX} && echo there", Output("there\n")),
        ("[ -f /vmfs/volumes/datastore1/x.vmx ] || echo no", Output("no\n")),
        ("cat /vmfs/x", Output("", "cat: can't open '/vmfs/x': No such file or directory\n", 1)),
        (f"cp -p {VMX} /etc/x", Output("", "cp: can't create '/etc/x': No such file or directory\n", 1)),
        (f"mv {VMX}.new {VMX}", Output("", f"mv: can't rename '{VMX}.new': No such file or directory\n", 1)),
        (f"rm {VMX}", Output("", f"rm: can't remove '{VMX}': Device or resource busy\n", 1)),
        (f"rm -f {VMX}.new", Output()),
        ("echo x > /vmfs/volumes/n/x", Output("", "sh: can't create /vmfs/volumes/n/x: Operation not permitted\n", 1)),
    ],
)  # fmt: skip
def test_tools_on_files_and_vms(on_esx_03: Run, world: World, line: str, said: Output) -> None:
    """They answer and refuse as on a host; what is refused changes nothing."""
    assert on_esx_03(line) == said
    assert world.mutations == []


def test_vms_are_listed_with_their_files(on_esx_03: Run) -> None:
    """A host lists its own VMs with the ids that hostd gives them, which are not vCenter's."""
    head, *rows = on_esx_03("vim-cmd vmsvc/getallvms").out.splitlines()
    assert head.split()[:3] == ["Vmid", "Name", "File"]
    assert [row.split()[:4] for row in rows] == [["4", "lnx-02", "[datastore1]", "vm-104/vm-104.vmx"]]
    assert 'vmPathName = "[datastore1] vm-104/vm-104.vmx"' in on_esx_03("vim-cmd vmsvc/get.summary 4").out


def test_quotes_and_digests(on_esx_03: Run, world: World) -> None:
    """A file whose name needs quotes is the same to each tool, and a digest is that of its bytes."""
    world.datastore.write(f"{VOLUME}/vm-104/my 'old' $x.vmx", b"abc")
    path = f"""'{VOLUME}/vm-104/my '"'"'old'"'"' $x.vmx'"""
    assert on_esx_03(f"cat {path}").out == "abc"
    assert on_esx_03(f"cat {path} | sha256sum | grep -q '^ba7816bf'").status == 0
    assert on_esx_03(f"rm {path}; cat {path}").status == 1
