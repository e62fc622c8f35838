"""Do the work with pyVmomi and nothing else: the least that it can cost.

    python bare.py HOST PORT USER VM      the password in VMWARE_PASSWORD, the CA's file in SSL_CERT_FILE

It finds the VM with one read, powers it off, adds an xHCI controller, powers it on, and awaits each task. It asks
nobody, checks nothing beforehand, records nothing, and does not look at the result.
"""

import os
import sys
from typing import Any

from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl

query = vmodl.query.PropertyCollector


def main() -> None:
    """Do the work."""
    host, port, user, name = sys.argv[1:]
    service = SmartConnect(host=host, port=int(port), user=user, pwd=os.environ["VMWARE_PASSWORD"])
    content = service.RetrieveContent()
    vm = found(content, name)
    wait(content, vm.PowerOffVM_Task())
    controller = vim.vm.device.VirtualUSBXHCIController(key=-1)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=controller)
    wait(content, vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    wait(content, vm.PowerOnVM_Task())
    Disconnect(service)


def found(content: Any, name: str) -> Any:
    """Return the VM of that name, with one read of all names."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], recursive=True)
    walk = query.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    names = query.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])
    spec = query.FilterSpec(objectSet=[query.ObjectSpec(obj=view, skip=True, selectSet=[walk])], propSet=[names])
    answer = content.propertyCollector.RetrievePropertiesEx([spec], query.RetrieveOptions())
    view.Destroy()
    return next(one.obj for one in answer.objects if one.propSet[0].val == name)


def wait(content: Any, task: Any) -> None:
    """Wait until the task has ended; end with its error if it has one."""
    state = query.PropertySpec(type=vim.Task, pathSet=["info.state", "info.error"])
    spec = query.FilterSpec(objectSet=[query.ObjectSpec(obj=task)], propSet=[state])
    watch = content.propertyCollector.CreateFilter(spec, partialUpdates=True)
    version, seen = "", dict[str, Any]()
    while seen.get("info.state") not in {"success", "error"}:
        update = content.propertyCollector.WaitForUpdatesEx(version, query.WaitOptions(maxWaitSeconds=60))
        version = update.version
        seen |= {one.name: one.val for one in update.filterSet[0].objectSet[0].changeSet}
    watch.Destroy()
    if seen.get("info.error"):
        sys.exit(f"{task} failed: {seen['info.error'].msg}")


if __name__ == "__main__":
    main()
