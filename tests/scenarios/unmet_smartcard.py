"""Ways in which the checks of smartcard-enable and smartcard-disable are not met."""

from __future__ import annotations

from typing import Any

from flows.smartcard_enable import HOST_PRIVILEGES, PRIVILEGES
from passgate.model.inventory import HostService, Inventory
from tests.scenarios.paper import entry, estate, machine
from tests.scenarios.unmet import WARNING, Unmet

ENABLE, DISABLE = {"runbook": "smartcard-enable"}, {"runbook": "smartcard-disable"}
VMX = {"method": "vmx"}
ALLOWED = {"extra": {"usb.generic.allowCCID": "TRUE"}}


def pcscd(*, running: bool = False, policy: str = "off") -> tuple[HostService, ...]:
    """Return the services of a host, with pcscd so."""
    return (
        HostService(key="ntpd", running=True, policy="on"),
        HostService(key="pcscd", running=running, policy=policy),
    )


def ready(
    vm: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    device: dict[str, Any] | None = None,
    **more: Any,
) -> Inventory:
    """Return an estate where both runbooks meet every check: a reader that is free, pcscd stopped, ESXi 7.0."""
    return estate(
        {"vmx_path": "[datastore1] win-01/win-01.vmx", **(vm or {})},
        {"version": "7.0.3", "services": pcscd(), **(host or {})},
        {"families": ("smart_card",), "name": "OmniKey", "speeds": ("full",), **(device or {})},
        {"privileges": {"vm-7": frozenset(PRIVILEGES), "host-11": frozenset(HOST_PRIVILEGES)}},
        **more,
    )


OTHER = machine("lnx-01", 8, **ALLOWED)

UNMET = (
    Unmet("SC-DEV-01", "a stick", "storage", ready(device={"families": ("storage",)}), **ENABLE),
    Unmet("SC-DEV-01", "no class known", "not known", ready(device={"families": ()}), **DISABLE),
    Unmet("SC-DEV-02", "kept back by something else", "does not offer", ready(device={"offered": False}), **ENABLE),
    Unmet("SC-HOST-01", "services not read", "did not tell", ready(host={"services": None}), **ENABLE),
    Unmet("SC-HOST-01", "a policy that nobody knows", "sometimes", ready(host={"services": pcscd(policy="sometimes")}),
          **DISABLE),
    Unmet("SC-HOST-02", "later than the KB", "ESXi 8.0.2", ready(host={"version": "8.0.2"}), severity=WARNING,
          **ENABLE),
    Unmet("SC-HOST-02", "earlier than the KB", "ESXi 6.0.0", ready(host={"version": "6.0.0"}), severity=WARNING,
          **ENABLE),
    Unmet("SC-HOST-02", "no 7.1 is known", "7.1.0", ready(host={"version": "7.1.0"}), severity=WARNING, **ENABLE),
    Unmet("SC-HOST-03", "people log in with cards", "pcscd on esx-01.lab.example runs",
          ready(host={"services": pcscd(running=True, policy="on")}, device={"offered": False, "path": None}),
          severity=WARNING, **ENABLE),
    Unmet("SC-HOST-03", "it would start at the next boot", "does not run, and its startup policy is automatic",
          ready(host={"services": pcscd(policy="automatic")}), severity=WARNING, **ENABLE),
    Unmet("SC-HOST-04", "another VM may take readers", "lnx-01", ready(others=[OTHER]), severity=WARNING, **ENABLE),
    Unmet("SC-HOST-04", "another VM needs pcscd stopped", "lnx-01", ready({"usb": (entry(),)}, others=[OTHER]),
          severity=WARNING, **DISABLE),
    Unmet("SC-VMX-01", "chkconfig can't set that", "becomes automatic", ready(), {**VMX, "pcscd_policy": "automatic"},
          **DISABLE),
    Unmet("SC-VMX-02", "no path", "not known", ready({"vmx_path": ""}), VMX, **ENABLE),
    Unmet("SC-VMX-02", "no path on a datastore", "/tmp/x", ready({"vmx_path": "/tmp/x.vmx"}), VMX, **DISABLE),  # noqa: S108 - a wrong path
)  # fmt: skip
