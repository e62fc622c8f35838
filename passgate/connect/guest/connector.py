"""Ask guests for their USB devices, with the account that config names for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from passgate.connect.guest import reading
from passgate.connect.guest.program import list_usb
from passgate.connect.vsphere.guest_ops import Account, GuestOperations
from passgate.connect.vsphere.session import Session
from passgate.errors import LoginError
from passgate.model.guest import GuestUsb
from passgate.model.inventory import GuestFamily, VmId


@dataclass(frozen=True)
class Login:
    """Say which account is for which guests; none in `vms`: all of the family. The password is asked when used."""

    family: GuestFamily
    user: str
    password: Callable[[], str]
    vms: tuple[str, ...] = ()


class GuestConnector:
    """Satisfy the engine's `Guest` port. Nothing here changes a guest; temporary files are always removed."""

    def __init__(self, session: Session, logins: Sequence[Login], *, patience: float = 120.0) -> None:
        self._operations = GuestOperations(session, patience=patience)
        self._logins = tuple(logins)

    def usb(self, vm: VmId) -> tuple[GuestUsb, ...]:
        """Return the USB devices that the guest itself sees, virtual hubs and mice left out."""
        family = self._operations.family(vm)
        login = self._login(vm, family)
        account = Account(login.user, login.password())
        text = self._operations.run(vm, account, lambda output: list_usb(family, output))
        return reading.of_windows(text) if family is GuestFamily.WINDOWS else reading.of_linux(text)

    def _login(self, vm: VmId, family: GuestFamily) -> Login:
        """Return the login that names the VM, else the one for all of its family."""
        mine = [one for one in self._logins if one.family is family and (not one.vms or vm.name in one.vms)]
        if not mine:
            raise LoginError(
                f"No account is known for the guest of {vm.name} ({family}).",
                hint=f"Add a login of family `{family}` under `guests` in site.yaml.",
                subject=vm.name,
            )
        return max(mine, key=lambda one: vm.name in one.vms)
