# ruff: noqa: FBT003 - pyVmomi's methods take their arguments by place
"""The lab's vCenter speaks to real pyVmomi over TLS as a vCenter does: sessions, inventory, reading, waiting, tasks."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyVim.connect import SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim, vmodl

from passgate.lab.hardware import Fault
from passgate.lab.tls import issue, make_ca
from passgate.lab.vcenter import Account, VCenterServer
from tests.contract.lab_vcenter import Lab, Q, running_lab, within


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Run a lab of the test's own."""
    with running_lab(tmp_path) as lab:
        yield lab


def everything(lab: Lab, kind: Any, paths: list[str]) -> Any:
    """Return the filter that reference simulators 3 recommends: a container view, walked by one traversal."""
    content = lab.si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    walk = Q.TraversalSpec(name="v", path="view", skip=False, type=type(view))
    return Q.FilterSpec(
        objectSet=[Q.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        propSet=[Q.PropertySpec(type=kind, pathSet=paths)],
    )


def test_says_its_version_as_a_vcenter_8_does(lab: Lab) -> None:
    """The client negotiates 8.0.2.0, so that no newer field is dropped silently."""
    assert lab.si._stub.version == "vim.version.v8_0_2_0"
    assert lab.si.content.about.apiVersion == "8.0.2.0"


def test_refuses_a_wrong_password(lab: Lab) -> None:
    """A wrong password and an unknown user get the same fault."""
    for user, password in [("admin", "wrong"), ("nobody", "secret")]:
        with pytest.raises(vim.fault.InvalidLogin):
            lab.login(user, password)


def test_refuses_calls_after_the_session_has_gone(lab: Lab) -> None:
    """Logout and expiry both end a session: the next call gets NotAuthenticated."""
    other = lab.login("admin")
    lab.server.expire_sessions()
    for si in (lab.si, other):
        with pytest.raises(vim.fault.NotAuthenticated):
            si.CurrentTime()
    lab.si = lab.login("admin")
    assert lab.si.content.sessionManager.currentSession.userName == "admin"


def test_certificate_can_be_an_expired_one(tmp_path: Path, lab: Lab) -> None:
    """A client that checks certificates does not connect to a vCenter whose certificate has expired."""
    ca = make_ca(tmp_path / "other")
    old = issue(ca, ["127.0.0.1"], expired=True)
    server = VCenterServer(lab.world, {"admin": Account("secret")}, cert=old.cert, key=old.key)
    server.start()
    try:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            SmartConnect(
                host="127.0.0.1", port=server.port, user="admin", pwd="secret",
                sslContext=ssl.create_default_context(cafile=str(ca.cert)),
            )  # fmt: skip
    finally:
        server.stop()


def test_reads_in_pages(lab: Lab) -> None:
    """The option maxObjects bounds each page, tokens lead through all of them, and each serves once."""
    collector = lab.si.content.propertyCollector
    spec = everything(lab, vim.VirtualMachine, ["name"])
    first = page = collector.RetrievePropertiesEx([spec], Q.RetrieveOptions(maxObjects=2))
    names, sizes = [], []
    while page:
        sizes.append(len(page.objects))
        names += [one.propSet[0].val for one in page.objects]
        page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None
    assert sizes == [2, 2, 2]
    assert names == [one.name for one in lab.world.vms]
    with pytest.raises(vmodl.fault.InvalidArgument):
        collector.ContinueRetrievePropertiesEx(first.token)


def test_walks_the_tree_by_named_selections(lab: Lab) -> None:
    """A SelectionSpec that names its own traversal recurses, from the root folder down to hosts and VMs."""
    again = Q.SelectionSpec(name="folders")
    folders = Q.TraversalSpec(name="folders", type=vim.Folder, path="childEntity", skip=False)
    vms = Q.TraversalSpec(name="vms", type=vim.Datacenter, path="vmFolder", skip=False, selectSet=[again])
    hosts = Q.TraversalSpec(name="hosts", type=vim.Datacenter, path="hostFolder", skip=False, selectSet=[again])
    inside = Q.TraversalSpec(name="inside", type=vim.ComputeResource, path="host", skip=False)
    folders.selectSet = [again, vms, hosts, inside]
    spec = Q.FilterSpec(
        objectSet=[Q.ObjectSpec(obj=lab.si.content.rootFolder, skip=False, selectSet=[folders])],
        propSet=[Q.PropertySpec(type=vim.ManagedEntity, pathSet=["name"])],
    )
    found = {one.propSet[0].val for one in lab.si.content.propertyCollector.RetrieveContents([spec])}
    assert {"Datacenters", "DC-Lab", "vm", "host", "Cluster-01", "esx-03.lab.example", "win-01"} <= found


def test_leaves_out_what_is_unset_and_refuses_what_does_not_exist(lab: Lab) -> None:
    """An unset property is absent (and reads as None when read singly); an unknown path is InvalidProperty."""
    collector = lab.si.content.propertyCollector
    rows = collector.RetrieveContents([everything(lab, vim.VirtualMachine, ["name", "snapshot", "guest.hostName"])])
    by_name = {p.val: {q.name for q in one.propSet} for one in rows for p in one.propSet if p.name == "name"}
    assert by_name["win-01"] == {"name", "guest.hostName"}
    assert by_name["win-02"] == {"name"}
    assert lab.vm("win-01").snapshot is None
    assert list(lab.vm("win-01").customValue) == []
    with pytest.raises(vmodl.query.InvalidProperty):
        collector.RetrieveContents([everything(lab, vim.VirtualMachine, ["config.nonsense"])])
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = vim.VirtualMachine("vm-999", lab.si._stub).name
    with pytest.raises(vmodl.fault.MethodNotFound):
        lab.vm("win-01").Unregister()


def test_every_property_can_be_read_singly(lab: Lab) -> None:
    """No property of any object breaks the server, set or not: Ansible's modules read property by property."""
    estate = lab.server.dispatcher.estate
    version = lab.si._stub.version
    for ref in [*estate._fixed, "vm-101", "vm-105", "envbrowser-101"]:
        served = estate.by_id(ref)
        assert served is not None
        thing = served.kind(ref, lab.si._stub)
        for info in served.kind._GetPropertyList():
            if VmomiSupport.IsChildVersion(version, info.version):  # pyVmomi itself refuses what is newer
                getattr(thing, info.name)


def test_wait_for_updates_tells_of_a_task_until_its_end(lab: Lab) -> None:
    """WaitForUpdatesEx reports a task's state from the first look to success, and nothing when nothing changes."""
    collector = lab.si.content.propertyCollector.CreatePropertyCollector()
    task = lab.vm("win-01").PowerOffVM_Task()
    collector.CreateFilter(
        Q.FilterSpec(
            objectSet=[Q.ObjectSpec(obj=task)], propSet=[Q.PropertySpec(type=vim.Task, pathSet=["info.state"])]
        ),
        False,
    )
    states: list[str] = []
    version = ""
    while not states or states[-1] != "success":
        news = collector.WaitForUpdatesEx(version, Q.WaitOptions(maxWaitSeconds=5))
        assert news is not None
        states += [one.val for each in news.filterSet for obj in each.objectSet for one in obj.changeSet]
        version = news.version
    assert states == sorted(set(states), key=["queued", "running", "success"].index)
    assert within(lambda: collector.CheckForUpdates(version) is None)
    assert collector.WaitForUpdatesEx(version, Q.WaitOptions(maxWaitSeconds=0)) is None
    assert lab.vm("win-01").runtime.powerState == "poweredOff"


def test_a_wait_can_be_cancelled(lab: Lab) -> None:
    """CancelWaitForUpdates ends the wait of another thread with RequestCanceled."""
    collector = lab.si.content.propertyCollector.CreatePropertyCollector()
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            collector.WaitForUpdatesEx("", Q.WaitOptions(maxWaitSeconds=30))
        except vmodl.fault.RequestCanceled as fault:
            ended.append(fault)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while waiter.is_alive():
        collector.CancelWaitForUpdates()
        waiter.join(0.05)
    assert len(ended) == 1


@pytest.mark.parametrize(
    "name", ["a\"b'c", "line\nbreak", "<&>]]>", "💾 usb", "仮想マシン", "x" * 80, " two  spaces ", "a/b%c\\d"]
)
def test_hostile_names_survive_the_wire(lab: Lab, name: str) -> None:
    """A VM may be called anything: the name arrives as it was sent, / % and backslash in vSphere's own escapes."""
    WaitForTask(lab.vm("win-02").ReconfigVM_Task(vim.vm.ConfigSpec(name=name)))
    assert lab.world.vm("vm-102").name == name
    shown = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    assert lab.vm(name).name == shown
    assert lab.si.content.searchIndex.FindByInventoryPath(f"DC-Lab/vm/{shown}")._moId == "vm-102"


def test_search_index_finds_by_uuid_and_dns_name(lab: Lab) -> None:
    """FindByUuid tells BIOS from instance UUIDs; FindByDnsName knows guests whose Tools run."""
    index, vm = lab.si.content.searchIndex, lab.world.vm("lnx-01")
    assert index.FindByUuid(None, vm.instance_uuid, True, True)._moId == vm.ref
    assert index.FindByUuid(None, vm.instance_uuid, True, False) is None
    assert index.FindByUuid(None, vm.host.uuid, False, None)._moId == vm.host.ref
    assert index.FindByDnsName(None, "lnx-01.lab.example", True)._moId == vm.ref


def test_power_has_states_and_the_guest_takes_its_time(lab: Lab) -> None:
    """A second power-on fails with InvalidPowerState; Tools answer a while after power-on; a soft shutdown ends off."""
    vm = lab.vm("win-02")
    WaitForTask(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState) as told:
        WaitForTask(vm.PowerOnVM_Task())
    assert told.value.existingState == "poweredOn"
    assert within(lambda: vm.guest.guestOperationsReady)
    vm.ShutdownGuest()
    assert within(lambda: vm.runtime.powerState == "poweredOff")
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.ShutdownGuest()


def test_a_power_state_that_vsphere_does_not_have_is_refused(lab: Lab) -> None:
    """The world has vSphere's three power states only, and says which."""
    vm = lab.world.vm("win-01")
    with pytest.raises(ValueError, match="'off' is no power state of vSphere; it has poweredOn, poweredOff, suspended"):
        lab.world.set_power(vm, "off")
    assert vm.power == "poweredOn"


def test_a_busy_vm_refuses_a_second_task(lab: Lab) -> None:
    """While a task runs on a VM the next one gets TaskInProgress, with the task that is in its way."""
    lab.world.settings = lab.world.settings.model_copy(update={"power_seconds": 30.0})
    task = lab.vm("win-01").PowerOffVM_Task()
    with pytest.raises(vim.fault.TaskInProgress) as told:
        lab.vm("win-01").ReconfigVM_Task(vim.vm.ConfigSpec(annotation="x"))
    assert told.value.task._moId == task._moId
    task.CancelTask()
    assert task.info.state == "error"
    assert isinstance(task.info.error, vmodl.fault.RequestCanceled)
    assert lab.vm("win-01").runtime.powerState == "poweredOn"


def test_injected_faults_hit_as_often_as_told(lab: Lab) -> None:
    """A fault is answered at once or ends the task, as told; then calls go through again."""
    vm = lab.vm("win-02")
    lab.world.inject(Fault("PowerOnVM_Task", "win-02", "TaskInProgress", times=2))
    for _ in range(2):
        with pytest.raises(vim.fault.TaskInProgress):
            vm.PowerOnVM_Task()
    lab.world.inject(Fault("PowerOnVM_Task", "win-02", "InsufficientResourcesFault", in_task=True))
    task = vm.PowerOnVM_Task()
    with pytest.raises(vim.fault.InsufficientResourcesFault):
        WaitForTask(task)
    WaitForTask(vm.PowerOnVM_Task())
    assert [one.accepted for one in lab.world.mutations] == [False, False, True, True]


def test_a_connection_can_break_before_or_after_the_act(lab: Lab) -> None:
    """Disconnect breaks the wire before the call acts; DisconnectAfter when it has."""
    for fault, power in [("Disconnect", "poweredOff"), ("DisconnectAfter", "poweredOn")]:
        lab.world.inject(Fault("PowerOnVM_Task", "win-02", fault))
        with pytest.raises((http.client.HTTPException, OSError)):
            lab.vm("win-02").PowerOnVM_Task()
        vm = lab.world.vm("win-02")
        while task := lab.world.running_task(vm):
            lab.world.wait(lab.world.version, 1)
            assert task.method == "PowerOnVM_Task"
        assert vm.power == power


def test_records_every_call_that_asks_for_a_change(lab: Lab) -> None:
    """Reading leaves no trace in the log of mutating calls; every other call does, also those that are refused."""
    lab.vm("win-01").environmentBrowser.QueryConfigTarget(None)
    lab.si.content.propertyCollector.RetrieveContents([everything(lab, vim.VirtualMachine, ["config"])])
    assert lab.world.mutations == []
    with pytest.raises(vmodl.fault.MethodNotFound):
        lab.vm("win-01").Destroy_Task()
    lab.vm("win-01").RebootGuest()
    assert [(one.wire, one.method, one.object, one.user, one.accepted) for one in lab.world.mutations] == [
        ("soap", "Destroy_Task", "win-01", "admin", False),
        ("soap", "RebootGuest", "win-01", "admin", True),
    ]


def test_records_calls_that_never_reached_their_object(lab: Lab) -> None:
    """A mutating call without a session, or on a connection that broke, is in the log as not accepted."""
    lab.world.inject(Fault("PowerOffVM_Task", "win-01", "Disconnect"))
    with pytest.raises((http.client.HTTPException, OSError)):
        lab.vm("win-01").PowerOffVM_Task()
    lab.server.expire_sessions()
    with pytest.raises(vim.fault.NotAuthenticated):
        lab.vm("win-01").PowerOffVM_Task()
    lab.si = lab.login("admin")
    assert [(one.method, one.object, one.accepted) for one in lab.world.mutations] == [
        ("PowerOffVM_Task", "win-01", False),
        ("PowerOffVM_Task", "win-01", False),
    ]


def test_serves_the_lazy_reads_of_ansibles_modules(lab: Lab) -> None:
    """What community.vmware reads of a VM, one property after the other, is there; `benchmarks/` runs its modules."""
    vm = lab.vm("win-01")
    assert [one.info.name for one in vm.datastore] == ["datastore1"]
    assert vm.summary.runtime.host.parent.name == "Cluster-01"
    assert (vm.parent.name, vm.parent.parent.name, vm.snapshot) == ("vm", "DC-Lab", None)
    assert vm.config.files.vmPathName == "[datastore1] vm-101/vm-101.vmx"
    assert list(lab.si.content.customFieldsManager.field) == []
    assert list(vm.summary.customValue) == []
