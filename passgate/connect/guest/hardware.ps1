$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Get-CimInstance Win32_ComputerSystem | Select-Object NumberOfLogicalProcessors, TotalPhysicalMemory | ConvertTo-Json -Compress
