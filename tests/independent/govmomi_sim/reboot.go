// RebootHost_Task, which the stock simulator lacks and which can't be added to its hosts: they are cast to their own
// type in many places. A front before its SOAP handler hands these calls to an object beside the host.

package main

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const away = 300 * time.Millisecond

// rebooter stands for a host where it is asked to reboot. The host goes away, comes back with a newer boot time, and
// what was set to be passed through is in effect.
type rebooter struct {
	Self types.ManagedObjectReference
	host *simulator.HostSystem
	pci  *passthrough
}

func (r *rebooter) Reference() types.ManagedObjectReference {
	return r.Self
}

func (r *rebooter) RebootHostTask(ctx *simulator.Context, req *types.RebootHost_Task) soap.HasFault {
	task := simulator.CreateTask(r.host, "rebootHost", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if !r.host.Runtime.InMaintenanceMode && !req.Force {
			return nil, new(types.InvalidState)
		}
		go func() {
			time.Sleep(away)
			r.update(types.HostSystemConnectionStateNotResponding)
			time.Sleep(away)
			r.update(types.HostSystemConnectionStateConnected)
		}()
		return nil, nil
	})
	return &methods.RebootHost_TaskBody{Res: &types.RebootHost_TaskResponse{Returnval: task.Run()}}
}

func (r *rebooter) update(state types.HostSystemConnectionState) {
	simulator.Map.WithLock(r.host, func() {
		changes := []types.PropertyChange{{Name: "runtime.connectionState", Val: state}}
		if state == types.HostSystemConnectionStateConnected {
			now := time.Now()
			changes = append(changes, types.PropertyChange{Name: "runtime.bootTime", Val: &now})
			r.host.Summary.RebootRequired = false
			for _, one := range r.pci.PciPassthruInfo {
				info := one.GetHostPciPassthruInfo()
				info.PassthruActive = info.PassthruEnabled
			}
		}
		simulator.Map.Update(r.host, changes)
	})
}

func withReboot(host *simulator.HostSystem, pci *passthrough) {
	self := types.ManagedObjectReference{Type: "Rebooter", Value: host.Self.Value}
	simulator.Map.Put(&rebooter{Self: self, host: host, pci: pci})
}

// front answers on the address that the tests use, which goes before the simulator's own pattern without a host.
func front(service *simulator.Service) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("127.0.0.1/sdk", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("<RebootHost_Task ")) {
			body = bytes.Replace(body, []byte(`type="HostSystem"`), []byte(`type="Rebooter"`), 1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		service.ServeSDK(w, r)
	})
	return mux
}
