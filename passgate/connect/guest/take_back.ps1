# Set before it: $number and $unique, the disk's number and id, and $mounts with part and where ('E:\') of each.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$disk = @(Get-Disk -Number $number -ErrorAction SilentlyContinue | Where-Object UniqueId -eq $unique)
$codes = @()
if ($disk) {
  if ($disk | Where-Object IsOffline) {
    Set-Disk -Number $number -IsOffline $false
  }
  $mounts | ForEach-Object { $want = $_; Get-Partition -DiskNumber $number -PartitionNumber $want.part | Where-Object AccessPaths -notcontains $want.where | ForEach-Object { Add-PartitionAccessPath -DiskNumber $number -PartitionNumber $want.part -AccessPath $want.where } }
  $ids = @($disk | Get-Partition | Get-Volume | Select-Object -ExpandProperty UniqueId)
  $codes = @(Get-CimInstance Win32_Volume | Where-Object DeviceID -in $ids | Invoke-CimMethod -MethodName Mount | Select-Object -ExpandProperty ReturnValue)
}
@{ there = @($disk | Select-Object Number); refused = @($codes | Where-Object { $_ -ne 0 }) } | ConvertTo-Json -Compress -Depth 3
