$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$seen = @{
  pnp = @(Get-PnpDevice -PresentOnly | Where-Object InstanceId -like 'USB*' | Select-Object Status, Class, FriendlyName, InstanceId)
  disks = @(Get-Disk -ErrorAction SilentlyContinue | Where-Object BusType -eq 'USB' | Select-Object Number, SerialNumber, UniqueId, Path, FriendlyName, Size, OperationalStatus, IsOffline)
  parents = @(Get-PnpDevice -PresentOnly -Class DiskDrive -ErrorAction SilentlyContinue | Get-PnpDeviceProperty -KeyName DEVPKEY_Device_Parent -ErrorAction SilentlyContinue | Select-Object InstanceId, Data)
  partitions = @(Get-Partition -ErrorAction SilentlyContinue | Select-Object DiskNumber, PartitionNumber, DriveLetter, AccessPaths)
}
$json = $seen | ConvertTo-Json -Compress -Depth 4
[regex]::Replace($json, '[^\x20-\x7e]', { '\u{0:x4}' -f [int][char]$args[0].Value })
