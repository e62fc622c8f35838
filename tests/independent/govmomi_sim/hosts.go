// What the stock simulator's hosts lack: PCI functions that can be passed through, and services that start and stop.
// Both are references without an object there.

package main

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// passthrough keeps the three states of each PCI function: capable is given, enabled is set, active follows at once
// where the host can rebind and else at a reboot, which this simulator has none of. A setting acts on all functions
// behind one dependent device. It embeds the mo type by value, or property reads would panic.
type passthrough struct {
	mo.HostPciPassthruSystem
	host *simulator.HostSystem
}

func (p *passthrough) Refresh(*types.Refresh) soap.HasFault {
	return &methods.RefreshBody{Res: new(types.RefreshResponse)}
}

func (p *passthrough) UpdatePassthruConfig(req *types.UpdatePassthruConfig) soap.HasFault {
	body := new(methods.UpdatePassthruConfigBody)
	for _, one := range req.Config {
		wanted := one.GetHostPciPassthruConfig()
		hit := p.behind(wanted.Id)
		if len(hit) == 0 {
			body.Fault_ = simulator.Fault("no function "+wanted.Id+" to pass through", new(types.HostConfigFault))
			return body
		}
		atOnce := *p.host.Capability.DeviceRebindWithoutRebootSupported && (wanted.ApplyNow == nil || *wanted.ApplyNow)
		for _, info := range hit {
			info.PassthruEnabled = wanted.PassthruEnabled
			if atOnce {
				info.PassthruActive = wanted.PassthruEnabled
			} else if info.PassthruActive != wanted.PassthruEnabled {
				p.host.Summary.RebootRequired = true
			}
		}
	}
	body.Res = new(types.UpdatePassthruConfigResponse)
	return body
}

// behind returns all capable functions that share the dependent device of the one with that id, or have it themselves.
func (p *passthrough) behind(id string) []*types.HostPciPassthruInfo {
	dependent := id
	for _, one := range p.PciPassthruInfo {
		if info := one.GetHostPciPassthruInfo(); info.Id == id {
			dependent = info.DependentDevice
		}
	}
	var hit []*types.HostPciPassthruInfo
	for _, one := range p.PciPassthruInfo {
		if info := one.GetHostPciPassthruInfo(); info.DependentDevice == dependent && info.PassthruCapable {
			hit = append(hit, info)
		}
	}
	return hit
}

// offered returns the functions that a VM may be given: those whose passthrough is in effect.
func (p *passthrough) offered() []types.BaseVirtualMachinePciPassthroughInfo {
	var all []types.BaseVirtualMachinePciPassthroughInfo
	for _, one := range p.PciPassthruInfo {
		for _, function := range p.host.Hardware.PciDevice {
			if info := one.GetHostPciPassthruInfo(); info.PassthruActive && info.Id == function.Id {
				all = append(all, &types.VirtualMachinePciPassthroughInfo{
					VirtualMachineTargetInfo: types.VirtualMachineTargetInfo{Name: function.DeviceName},
					PciDevice:                function,
					SystemId:                 p.host.Hardware.SystemInfo.Uuid,
				})
			}
		}
	}
	return all
}

// function returns a PCI function; ids above 0x7fff are negative on the wire, as on a real host.
func function(id string, class int16, vendor, device uint16, name string, bridge string) types.HostPciDevice {
	one := types.HostPciDevice{
		Id: id, ClassId: class, VendorId: int16(vendor), DeviceId: int16(device), DeviceName: name, VendorName: "Test",
		ParentBridge: bridge,
	}
	_, _ = fmt.Sscanf(id, "0000:%x:%x.%x", &one.Bus, &one.Slot, &one.Function)
	return one
}

// withPassthrough gives a host a USB controller that is alone, a card of two functions behind one bridge, and a bridge
// that can't be passed through; with `second`, one more USB controller, such as QEMU has.
func withPassthrough(host *simulator.HostSystem, rebind, second bool) *passthrough {
	bridge := "0000:00:1c.0"
	host.Hardware.PciDevice = append(host.Hardware.PciDevice,
		function("0000:00:14.0", 0x0c03, 0x8086, 0xa36d, "xHCI Host Controller", ""),
		function(bridge, 0x0604, 0x8086, 0xa338, "PCI Express Root Port", ""),
		function("0000:3b:00.0", 0x0400, 0x1cd7, 0x0010, "Capture Card", bridge),
		function("0000:3b:00.1", 0x0403, 0x1cd7, 0x0011, "Capture Card Audio", bridge),
	)
	own := &passthrough{host: host}
	for _, one := range []types.HostPciPassthruInfo{
		{Id: "0000:00:14.0", DependentDevice: "0000:00:14.0", PassthruCapable: true},
		{Id: bridge, DependentDevice: bridge},
		{Id: "0000:3b:00.0", DependentDevice: bridge, PassthruCapable: true},
		{Id: "0000:3b:00.1", DependentDevice: bridge, PassthruCapable: true},
	} {
		info := one
		own.PciPassthruInfo = append(own.PciPassthruInfo, &info)
	}
	if second {
		id := "0000:41:00.0"
		host.Hardware.PciDevice = append(host.Hardware.PciDevice,
			function(id, 0x0c03, 0x1033, 0x0194, "uPD720200 USB 3.0 Host Controller", ""))
		own.PciPassthruInfo = append(own.PciPassthruInfo,
			&types.HostPciPassthruInfo{Id: id, DependentDevice: id, PassthruCapable: true})
	}
	own.Self = types.ManagedObjectReference{Type: "HostPciPassthruSystem", Value: "passthrough-" + host.Self.Value}
	simulator.Map.Put(own)
	host.ConfigManager.PciPassthruSystem = &own.Self
	host.Config.PciPassthruInfo = own.PciPassthruInfo
	product := *host.Summary.Config.Product
	product.Version = "8.0.2" // the stock 6.5 can't rebind
	host.Summary.Config.Product = &product
	host.Summary.Hardware.MemorySize = 64 << 30 // the stock 4 GiB are no more than ESXi itself wants
	host.Capability = &types.HostCapability{
		DeviceRebindWithoutRebootSupported: &rebind, RebootSupported: true, MaintenanceModeSupported: true,
	}
	return own
}

// services starts and stops what the host lists; the list in the host's configuration is the same one.
type services struct {
	mo.HostServiceSystem
	host *simulator.HostSystem
}

func (s *services) set(id string, running bool) *soap.Fault {
	for i := range s.ServiceInfo.Service {
		if s.ServiceInfo.Service[i].Key == id {
			s.ServiceInfo.Service[i].Running = running
			return nil
		}
	}
	return simulator.Fault("no service "+id, new(types.NotFound))
}

func (s *services) StartService(req *types.StartService) soap.HasFault {
	fault := s.set(req.Id, true)
	if fault != nil {
		return &methods.StartServiceBody{Fault_: fault}
	}
	return &methods.StartServiceBody{Res: new(types.StartServiceResponse)}
}

func (s *services) StopService(req *types.StopService) soap.HasFault {
	fault := s.set(req.Id, false)
	if fault != nil {
		return &methods.StopServiceBody{Fault_: fault}
	}
	return &methods.StopServiceBody{Res: new(types.StopServiceResponse)}
}

func (s *services) RestartService(req *types.RestartService) soap.HasFault {
	fault := s.set(req.Id, true)
	if fault != nil {
		return &methods.RestartServiceBody{Fault_: fault}
	}
	return &methods.RestartServiceBody{Res: new(types.RestartServiceResponse)}
}

func (s *services) RefreshServices(*types.RefreshServices) soap.HasFault {
	return &methods.RefreshServicesBody{Res: new(types.RefreshServicesResponse)}
}

func (s *services) UpdateServicePolicy(req *types.UpdateServicePolicy) soap.HasFault {
	for i := range s.ServiceInfo.Service {
		if s.ServiceInfo.Service[i].Key == req.Id {
			s.ServiceInfo.Service[i].Policy = req.Policy
			return &methods.UpdateServicePolicyBody{Res: new(types.UpdateServicePolicyResponse)}
		}
	}
	return &methods.UpdateServicePolicyBody{Fault_: simulator.Fault("no service "+req.Id, new(types.NotFound))}
}

func withServices(host *simulator.HostSystem) {
	own := &services{host: host}
	own.ServiceInfo = *host.Config.Service
	host.Config.Service = &own.ServiceInfo
	own.Self = types.ManagedObjectReference{Type: "HostServiceSystem", Value: "services-" + host.Self.Value}
	simulator.Map.Put(own)
	host.ConfigManager.ServiceSystem = &own.Self
}
