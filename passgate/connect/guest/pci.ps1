$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$seen = @{
  pci = @(Get-PnpDevice -PresentOnly | Where-Object InstanceId -like 'PCI*' | Select-Object Status, FriendlyName, InstanceId)
}
$json = $seen | ConvertTo-Json -Compress -Depth 3
[regex]::Replace($json, '[^\x20-\x7e]', { '\u{0:x4}' -f [int][char]$args[0].Value })
