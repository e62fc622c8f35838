# Set before it: $number and $unique, the disk's number and id. A volume in use is refused, never forced (4).
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$disk = @(Get-Disk -Number $number -ErrorAction SilentlyContinue | Where-Object UniqueId -eq $unique)
$parts = @($disk | Get-Partition -ErrorAction SilentlyContinue)
$volumes = @($parts | Get-Volume -ErrorAction SilentlyContinue)
$ids = @($volumes | Select-Object -ExpandProperty UniqueId)
$codes = @(Get-CimInstance Win32_Volume | Where-Object DeviceID -in $ids | Invoke-CimMethod -MethodName Dismount -Arguments @{ Force = $false; Permanent = $false } | Select-Object -ExpandProperty ReturnValue)
$refused = @($codes | Where-Object { $_ -ne 0 })
$letters = @($parts | Where-Object DriveLetter -match '[A-Z]' | Select-Object -ExpandProperty DriveLetter)
$users = @($letters | ForEach-Object { $here = '{0}:\*' -f $_; Get-Process -ErrorAction SilentlyContinue | Where-Object Path -like $here | Select-Object Id, ProcessName })
$removable = @($volumes | Where-Object DriveType -eq 'Removable')
if ($disk -and -not $refused) {
  if ($removable) {
    # Windows takes no removable medium offline: without letters it is dismounted so that it stays so.
    $parts | Where-Object DriveLetter -match '[A-Z]' | ForEach-Object { Remove-PartitionAccessPath -DiskNumber $number -PartitionNumber $_.PartitionNumber -AccessPath ('{0}:\' -f $_.DriveLetter) }
    $codes = @(Get-CimInstance Win32_Volume | Where-Object DeviceID -in $ids | Invoke-CimMethod -MethodName Dismount -Arguments @{ Force = $false; Permanent = $true } | Select-Object -ExpandProperty ReturnValue)
    $refused = @($codes | Where-Object { $_ -ne 0 })
  } else {
    if ($volumes) {
      Set-Disk -Number $number -IsOffline $true
    }
  }
}
@{ there = @($disk | Select-Object Number); refused = $refused; users = $users } | ConvertTo-Json -Compress -Depth 3
