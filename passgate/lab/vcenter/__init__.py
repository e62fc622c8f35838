"""The simulated vCenter: SOAP over TLS on pyVmomi's own serializers, in front of the lab's world."""

from passgate.lab.vcenter.accounts import Account
from passgate.lab.vcenter.server import VCenterServer

__all__ = ["Account", "VCenterServer"]
