// A vCenter, or an ESXi host that stands alone, from govmomi's simulator, with what the stock one lacks: USB devices
// per host in the environment browser, a hardware section in the config option, and what hosts.go gives each host.
//
// Built against Debian's golang-github-vmware-govmomi-dev (0.24.2). It prints its URL on a line of its own and serves
// until its standard input is closed, so that it never outlives the test that started it.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/url"
	"os"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/simulator/vpx"
	_ "github.com/vmware/govmomi/vapi/simulator" // the older form of the Automation API, with tags
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// browser answers with the USB devices and PCI functions of a host; the rest is the simulator's own answer. It embeds
// the mo type first, as every registered object must.
type browser struct {
	mo.EnvironmentBrowser
	stock *simulator.EnvironmentBrowser
	usb   map[types.ManagedObjectReference][]types.VirtualMachineUsbInfo
	pci   map[types.ManagedObjectReference]*passthrough
}

func (b *browser) QueryConfigTarget(ctx *simulator.Context, req *types.QueryConfigTarget) soap.HasFault {
	answer := b.stock.QueryConfigTarget(ctx, req).(*methods.QueryConfigTargetBody)
	if req.Host != nil && answer.Res != nil {
		answer.Res.Returnval.Usb = nil
		for _, one := range b.usb[*req.Host] {
			one.Summary = user(*req.Host, one.PhysicalPath)
			answer.Res.Returnval.Usb = append(answer.Res.Returnval.Usb, one)
		}
		answer.Res.Returnval.PciPassthrough = b.pci[*req.Host].offered()
	}
	return answer
}

func (b *browser) QueryConfigOption(req *types.QueryConfigOption) soap.HasFault {
	yes := true
	answer := b.stock.QueryConfigOption(req).(*methods.QueryConfigOptionBody)
	option := *answer.Res.Returnval
	option.HardwareOptions = types.VirtualHardwareOption{
		NumUSBControllers:     types.IntOption{Min: 0, Max: 1, DefaultValue: 0},
		NumUSBXHCIControllers: &types.IntOption{Min: 0, Max: 1, DefaultValue: 0},
		VirtualDeviceOption: []types.BaseVirtualDeviceOption{
			&types.VirtualUSBOption{VirtualDeviceOption: types.VirtualDeviceOption{
				Type: "VirtualUSB", PlugAndPlay: true, HotRemoveSupported: &yes,
			}},
		},
	}
	answer.Res.Returnval = &option
	return answer
}

// user returns the running VM whose configuration names the path, as the arbitrator would give it away: one on that
// host, or one elsewhere that names this host too.
func user(host types.ManagedObjectReference, path string) *types.VirtualMachineSummary {
	for _, one := range simulator.Map.All("VirtualMachine") {
		vm := simulator.Map.Get(one.Reference()).(*simulator.VirtualMachine)
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		for _, device := range vm.Config.Hardware.Device {
			usb, ok := device.(*types.VirtualUSB)
			if !ok {
				continue
			}
			mine := false
			switch backing := usb.Backing.(type) {
			case *types.VirtualUSBUSBBackingInfo:
				mine = backing.DeviceName == path && *vm.Runtime.Host == host
			case *types.VirtualUSBRemoteHostBackingInfo:
				name := simulator.Map.Get(host).(*simulator.HostSystem).Name
				mine = backing.DeviceName == path && backing.Hostname == name
			}
			if mine {
				summary := vm.Summary
				return &summary
			}
		}
	}
	return nil
}

func device(name, path string, vendor, product int32, speed string) types.VirtualMachineUsbInfo {
	return types.VirtualMachineUsbInfo{
		VirtualMachineTargetInfo: types.VirtualMachineTargetInfo{Name: name},
		Description:              name,
		Vendor:                   vendor,
		Product:                  product,
		PhysicalPath:             path,
		Family:                   []string{"storage"},
		Speed:                    []string{speed},
	}
}

// hosts returns all hosts in the order of their ids, so that each run gives them the same devices.
func hosts() []*simulator.HostSystem {
	var all []*simulator.HostSystem
	for _, one := range simulator.Map.All("HostSystem") {
		all = append(all, simulator.Map.Get(one.Reference()).(*simulator.HostSystem))
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Self.Value < all[j].Self.Value })
	return all
}

// withDevices gives each host its USB devices and PCI functions; `more` are at every host too.
func withDevices(more ...types.VirtualMachineUsbInfo) {
	devices := map[types.ManagedObjectReference][]types.VirtualMachineUsbInfo{}
	functions := map[types.ManagedObjectReference]*passthrough{}
	for number, host := range hosts() {
		devices[host.Self] = append([]types.VirtualMachineUsbInfo{
			device("STORE N GO", "path:0/1/3 version:2", 0x18a5, 0x0302, "high"),
			device("Ultra Fit", "path:0/2/1 version:3", 0x0781, 0x5583, "superSpeed"),
			device("HASP", "path:0/1/5", 0x0529, 0x0001, "full"),
			device("HASP", "path:0/1/6", 0x0529, 0x0001, "full"),
		}, more...)
		// The first host changes passthrough at once; the others would at a reboot, which there is none of.
		functions[host.Self] = withPassthrough(host, number == 0, len(more) > 0)
		withServices(host)
		withReboot(host, functions[host.Self])
	}
	for _, kind := range []string{"ComputeResource", "ClusterComputeResource"} {
		for _, one := range simulator.Map.All(kind) {
			var ref types.ManagedObjectReference
			switch resource := simulator.Map.Get(one.Reference()).(type) {
			case *mo.ComputeResource:
				ref = *resource.EnvironmentBrowser
			case *simulator.ClusterComputeResource:
				ref = *resource.EnvironmentBrowser
			}
			stock := simulator.Map.Get(ref).(*simulator.EnvironmentBrowser)
			own := &browser{stock: stock, usb: devices, pci: functions}
			own.Self = ref
			simulator.Map.Put(own)
		}
	}
}

// roles is an authorization manager that tells roles, and can't be asked for privileges: nobody knows whether an ESXi
// host without a vCenter can.
type roles struct {
	mo.AuthorizationManager
}

// withRolesOnly lets the user only read ha-host_VM1; everything else he administers.
func withRolesOnly() {
	at := *esx.ServiceContent.AuthorizationManager
	simulator.Map.Put(&roles{simulator.Map.Get(at).(*simulator.AuthorizationManager).AuthorizationManager})
	for _, one := range simulator.Map.All("VirtualMachine") {
		vm := simulator.Map.Get(one.Reference()).(*simulator.VirtualMachine)
		if vm.Name == "ha-host_VM1" {
			vm.EffectiveRole = []int32{-2}
		}
	}
}

func main() {
	// Four parts, and before the model: the stock 6.5 makes pyVmomi drop every newer field without a word.
	api := strings.TrimSpace(os.Args[1])
	vpx.ServiceContent.About.ApiVersion = api
	esx.ServiceContent.About.ApiVersion = api
	model := simulator.VPX()
	if os.Args[4] == "esx" {
		model = simulator.ESX()
	}
	if err := model.Create(); err != nil {
		panic(err)
	}
	if os.Args[4] == "esx" {
		withRolesOnly()
	}
	if len(os.Args) > 5 {
		reader := device("QEMU USB CCID", "path:0/1/9", 0x08e6, 0x4433, "full")
		reader.Family = []string{"smart_card"}
		withDevices(device("QEMU USB HARDDRIVE", "path:0/1/8", 0x46f4, 0x0001, "superSpeed"), reader)
	} else {
		withDevices()
	}
	certificate, err := tls.LoadX509KeyPair(os.Args[2], os.Args[3])
	if err != nil {
		panic(err)
	}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	model.Service.RegisterEndpoints = true
	model.Service.ServeMux = front(model.Service)
	model.Service.Listen = &url.URL{Scheme: "https", Host: "127.0.0.1:0", User: url.UserPassword("user", "pass")}
	if len(os.Args) > 5 {
		withGuest(os.Args[5], model.Service.ServeMux)
	}
	server := model.Service.NewServer()
	fmt.Printf("https://%s\n", server.URL.Host)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
