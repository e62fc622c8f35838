"""Read and change VMs through vCenter or ESXi, with pyVmomi. Nothing else in Passgate imports pyVmomi (but the lab)."""

from passgate.connect.vsphere.connector import VSphereConnector
from passgate.connect.vsphere.reading import Scope, read_inventory
from passgate.connect.vsphere.session import Session

__all__ = ["Session", "Scope", "read_inventory", "VSphereConnector"]
