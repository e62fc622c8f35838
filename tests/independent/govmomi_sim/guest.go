// VMware Tools and guest operations, which the stock simulator lacks: programs and files of every VM are those of one
// real guest that the test runs. Each script goes to it over a socket, as a line in base64; the answer is a line too:
// the script's exit status, a blank, its output in base64.

package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	account  = "root"
	password = "guest"
	fetching = "/guestFile"
)

// guest is where scripts are run.
type guest struct {
	socket string
	mutex  sync.Mutex
	last   int64
}

func (g *guest) run(script string) (string, []byte, error) {
	channel, err := net.Dial("unix", g.socket)
	if err != nil {
		return "", nil, err
	}
	defer channel.Close()
	fmt.Fprintln(channel, base64.StdEncoding.EncodeToString([]byte(script)))
	line, err := bufio.NewReader(channel).ReadString('\n')
	if err != nil {
		return "", nil, err
	}
	status, printed, _ := strings.Cut(strings.TrimSpace(line), " ")
	content, err := base64.StdEncoding.DecodeString(printed)
	return status, content, err
}

func (g *guest) next() int64 {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.last++
	return g.last
}

// ready returns why the guest takes no operations now, or who asks may not.
func (g *guest) ready(vm types.ManagedObjectReference, auth types.BaseGuestAuthentication) types.BaseMethodFault {
	one, found := simulator.Map.Get(vm).(*simulator.VirtualMachine)
	if !found || one.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return new(types.GuestOperationsUnavailable)
	}
	login, named := auth.(*types.NamePasswordAuthentication)
	if !named || login.Username != account || login.Password != password {
		return new(types.InvalidGuestLogin)
	}
	return nil
}

func quoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// processes starts programs; Tools hand path and arguments to a shell.
type processes struct {
	mo.GuestProcessManager
	guest *guest
	began map[int64]time.Time
}

func (p *processes) StartProgramInGuest(req *types.StartProgramInGuest) soap.HasFault {
	if fault := p.guest.ready(req.Vm, req.Auth); fault != nil {
		return &methods.StartProgramInGuestBody{Fault_: simulator.Fault("", fault)}
	}
	pid, spec := p.guest.next(), req.Spec.GetGuestProgramSpec()
	exit := fmt.Sprintf("/tmp/.exit%d", pid)
	// The guest outlives this simulator, and with it what an earlier process of this number left.
	script := fmt.Sprintf("rm -f %s; (sh -c %s; echo $? >%s.part; mv %s.part %s) </dev/null >/dev/null 2>&1 &",
		exit, quoted(spec.ProgramPath+" "+spec.Arguments), exit, exit, exit)
	if _, _, err := p.guest.run(script); err != nil {
		return &methods.StartProgramInGuestBody{Fault_: simulator.Fault(err.Error(), new(types.GuestOperationsUnavailable))}
	}
	p.began[pid] = time.Now()
	return &methods.StartProgramInGuestBody{Res: &types.StartProgramInGuestResponse{Returnval: pid}}
}

func (p *processes) ListProcessesInGuest(req *types.ListProcessesInGuest) soap.HasFault {
	if fault := p.guest.ready(req.Vm, req.Auth); fault != nil {
		return &methods.ListProcessesInGuestBody{Fault_: simulator.Fault("", fault)}
	}
	answer := new(types.ListProcessesInGuestResponse)
	for _, pid := range req.Pids {
		began, known := p.began[pid]
		if !known {
			continue
		}
		one := types.GuestProcessInfo{Name: "sh", Pid: pid, Owner: account, CmdLine: "sh", StartTime: began}
		if _, printed, err := p.guest.run(fmt.Sprintf("cat /tmp/.exit%d", pid)); err == nil {
			if n, _ := fmt.Sscan(string(printed), &one.ExitCode); n == 1 {
				now := time.Now()
				one.EndTime = &now
			}
		}
		answer.Returnval = append(answer.Returnval, one)
	}
	return &methods.ListProcessesInGuestBody{Res: answer}
}

// files makes, removes and hands out files.
type files struct {
	mo.GuestFileManager
	guest *guest
}

func (f *files) CreateTemporaryFileInGuest(req *types.CreateTemporaryFileInGuest) soap.HasFault {
	if fault := f.guest.ready(req.Vm, req.Auth); fault != nil {
		return &methods.CreateTemporaryFileInGuestBody{Fault_: simulator.Fault("", fault)}
	}
	path := fmt.Sprintf("/tmp/%s%d%s", req.Prefix, f.guest.next(), req.Suffix)
	if status, _, err := f.guest.run(": >" + quoted(path)); err != nil || status != "0" {
		fault := simulator.Fault(status, new(types.GuestOperationsUnavailable))
		return &methods.CreateTemporaryFileInGuestBody{Fault_: fault}
	}
	return &methods.CreateTemporaryFileInGuestBody{Res: &types.CreateTemporaryFileInGuestResponse{Returnval: path}}
}

func (f *files) DeleteFileInGuest(req *types.DeleteFileInGuest) soap.HasFault {
	if fault := f.guest.ready(req.Vm, req.Auth); fault != nil {
		return &methods.DeleteFileInGuestBody{Fault_: simulator.Fault("", fault)}
	}
	if status, _, err := f.guest.run("rm " + quoted(req.FilePath)); err != nil || status != "0" {
		fault := simulator.Fault(status, &types.FileNotFound{FileFault: types.FileFault{File: req.FilePath}})
		return &methods.DeleteFileInGuestBody{Fault_: fault}
	}
	return &methods.DeleteFileInGuestBody{Res: new(types.DeleteFileInGuestResponse)}
}

func (f *files) InitiateFileTransferFromGuest(req *types.InitiateFileTransferFromGuest) soap.HasFault {
	if fault := f.guest.ready(req.Vm, req.Auth); fault != nil {
		return &methods.InitiateFileTransferFromGuestBody{Fault_: simulator.Fault("", fault)}
	}
	// A host answers with a star for its own name.
	return &methods.InitiateFileTransferFromGuestBody{Res: &types.InitiateFileTransferFromGuestResponse{
		Returnval: types.FileTransferInformation{
			Attributes: new(types.GuestPosixFileAttributes),
			Url:        "https://*" + fetching + "?" + url.Values{"path": {req.GuestFilePath}}.Encode(),
		},
	}}
}

// withGuest gives every VM Tools that run, and that guest.
func withGuest(socket string, mux *http.ServeMux) {
	one := &guest{socket: socket}
	manager := simulator.Map.Get(types.ManagedObjectReference{
		Type: "GuestOperationsManager", Value: "guestOperationsManager",
	}).(*simulator.GuestOperationsManager)
	starter := &processes{guest: one, began: map[int64]time.Time{}}
	starter.Self = *manager.ProcessManager
	simulator.Map.Put(starter)
	keeper := &files{guest: one}
	keeper.Self = *manager.FileManager
	simulator.Map.Put(keeper)
	mux.HandleFunc(fetching, func(w http.ResponseWriter, r *http.Request) {
		status, printed, err := one.run("cat " + quoted(r.URL.Query().Get("path")))
		if err != nil || status != "0" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(printed)
	})
	yes := true
	for _, each := range simulator.Map.All("VirtualMachine") {
		vm := simulator.Map.Get(each.Reference()).(*simulator.VirtualMachine)
		vm.Guest.ToolsVersionStatus2 = string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)
		vm.Guest.ToolsRunningStatus = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
		vm.Guest.GuestFamily = "linuxGuest"
		vm.Guest.GuestOperationsReady = &yes
	}
}
