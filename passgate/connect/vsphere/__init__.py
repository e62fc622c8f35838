"""vCenter and ESXi through pyVmomi."""
