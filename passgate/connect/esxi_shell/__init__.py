"""Ask and change hosts through the ESXi shell."""

from passgate.connect.esxi_shell.reading import ShellReading, ShellUsb
from passgate.connect.esxi_shell.shell import EsxiShell
from passgate.connect.esxi_shell.wire import ShellAccess

__all__ = ["EsxiShell", "ShellAccess", "ShellReading", "ShellUsb"]
