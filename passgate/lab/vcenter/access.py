# ruff: noqa: N803, ARG002 - methods take every argument of their WSDL call, by its name and in its order
"""Serve privileges and settings: AuthorizationManager, OptionManager, CustomFieldsManager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyVmomi import vim

from passgate.lab.hardware import LabHost, Refusal
from passgate.lab.vcenter.accounts import PRIVILEGES, Account
from passgate.lab.vcenter.served import Call, Served, refs

if TYPE_CHECKING:
    from passgate.lab.vcenter.estate import Estate

_Available = vim.AuthorizationManager.PrivilegeAvailability
_OnEntity = vim.AuthorizationManager.EntityPrivilege


class AuthorizationManager(Served):
    """Who may do what."""

    kind = vim.AuthorizationManager

    @property
    def privilegeList(self) -> Any:
        """Return every privilege that exists here."""
        return vim.AuthorizationManager.Privilege.Array(
            [
                vim.AuthorizationManager.Privilege(
                    privId=one, onParent=False, name=one.rpartition(".")[2], privGroupName=one.rpartition(".")[0]
                )
                for one in PRIVILEGES
            ]
        )

    def HasPrivilegeOnEntities(self, call: Call, entity: Any, sessionId: str, privId: Any) -> Any:
        """Say for each object which of the privileges the session has on it."""
        account = self._account(sessionId)
        return _OnEntity.Array([_OnEntity(entity=one, privAvailability=_available(account, privId)) for one in entity])

    def HasPrivilegeOnEntity(self, call: Call, entity: Any, sessionId: str, privId: Any) -> list[bool]:
        """Say which of the privileges the session has on the object."""
        account = self._account(sessionId)
        return [account.may(one) for one in privId]

    def HasUserPrivilegeOnEntities(self, call: Call, entities: Any, userName: str, privId: Any) -> Any:
        """Say for each object which of the privileges the user has on it."""
        account = self._user(userName)
        return _OnEntity.Array(
            [_OnEntity(entity=one, privAvailability=_available(account, privId)) for one in entities]
        )

    def FetchUserPrivilegeOnEntities(self, call: Call, entities: Any, userName: str) -> Any:
        """Return all privileges that the user has on each object."""
        account = self._user(userName)
        kind = vim.AuthorizationManager.UserPrivilegeResult
        mine = [one for one in PRIVILEGES if account.may(one)]
        return kind.Array([kind(entity=one, privileges=mine) for one in entities])

    def _account(self, key: str) -> Account:
        session = self.estate.sessions.live.get(key)
        if session is None:
            raise Refusal("InvalidArgument", "No such session.", invalidProperty="sessionId")
        return session.account

    def _user(self, name: str) -> Account:
        account = self.estate.sessions.users.get(name)
        if account is None:
            raise Refusal("InvalidArgument", f"No such user: {name}.", invalidProperty="userName")
        return account


def _available(account: Account, privileges: Any) -> list[Any]:
    return [_Available(privId=one, isGranted=account.may(one)) for one in privileges]


class Settings(Served):
    """Base of the option managers: options by key."""

    kind = vim.option.OptionManager

    def options(self) -> dict[str, Any]:
        """Return the options by key."""
        return {}

    @property
    def setting(self) -> Any:
        """Return all options."""
        return vim.option.OptionValue.Array(
            [vim.option.OptionValue(key=key, value=value) for key, value in self.options().items()]
        )

    def QueryOptions(self, call: Call, name: str | None) -> Any:
        """Return the option of that name, or all below it when the name ends in a dot."""
        name = name or ""
        found = [one for one in self.setting if one.key == name or (name.endswith(".") and one.key.startswith(name))]
        if not name:
            found = list(self.setting)
        if not found:
            raise Refusal("InvalidName", f"A specified parameter was not correct: {name}", name=name)
        return vim.option.OptionValue.Array(found)


class VCenterSettings(Settings):
    """The vCenter's own settings."""

    def options(self) -> dict[str, Any]:
        """Return the options by key."""
        return {"VirtualCenter.InstanceName": "vcenter.lab.example", "config.vpxd.hostnameUrl": self.estate.url}


class HostSettings(Settings):
    """One host's advanced options."""

    def __init__(self, estate: Estate, ref: str, host: LabHost) -> None:
        super().__init__(estate, ref)
        self.host = host

    def options(self) -> dict[str, Any]:
        """Return the options by key (reference 3.1 and 3.4)."""
        return {
            "USB.arbitratorAutoStartDisabled": _long(int(not self.host.arbitrator_autostart)),
            "UserVars.ESXiShellTimeOut": _long(0),
            "UserVars.ESXiShellInteractiveTimeOut": _long(0),
            "Misc.HostName": self.host.name,
        }


def _long(value: int) -> Any:
    # Hosts answer with xsd:long; a plain int would go out as xsd:int.
    return type(vim.vm.Summary.StorageSummary().committed)(value)


class CustomFields(Served):
    """Custom attributes: the lab has none."""

    kind = vim.CustomFieldsManager

    @property
    def field(self) -> Any:
        """Return no custom attribute."""
        return refs([], vim.CustomFieldsManager.FieldDef)
