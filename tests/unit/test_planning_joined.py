"""Put together what vCenter and the shell know of a host's devices, without ever guessing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from passgate.connect.esxi_shell.reading import ShellReading, ShellUsb
from passgate.engine.estate import joined
from passgate.model.inventory import Arbitrator, Host, HostUsbDevice
from tests.scenarios.paper import HOST

plugged = st.lists(
    st.tuples(st.integers(1, 3), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=6
)  # product, offered, has a serial, ESXi boots from it


@given(plugged, st.randoms(use_true_random=False))
def test_a_serial_never_goes_to_a_twin(devices: list[tuple[int, bool, bool, bool]], chance: Random) -> None:
    """A device that comes out with path and serial is one that has both; what may be the boot device is marked so."""
    truth = {
        (product, f"0/{port}"): (f"S{port}" if has_serial else None, boots)
        for port, (product, _, has_serial, boots) in enumerate(devices)
    }
    offered = [
        HostUsbDevice(host=HOST, vendor=1, product=product, path=f"0/{port}", offered=True)
        for port, (product, is_offered, _, _) in enumerate(devices)
        if is_offered
    ]
    seen = [
        ShellUsb(bus=1, device=port + 2, vendor=1, product=product, serial=serial, boots_host=boots)
        for port, ((product, _), (serial, boots)) in enumerate(truth.items())
    ]
    chance.shuffle(offered)
    chance.shuffle(seen)

    host = joined(
        Host(**HOST.model_dump(), usb=tuple(offered)),
        ShellReading(host=HOST, arbitrator=Arbitrator.RUNNING, devices=tuple(seen)),
    )

    assert host.arbitrator is Arbitrator.RUNNING
    assert {one.path for one in host.usb if one.offered} == {one.path for one in offered}
    for one in host.usb:
        if one.path is None:
            assert not one.offered
            continue
        serial, boots = truth[one.product, one.path]
        assert one.serial in {serial, None}
        assert one.boots_host or not boots
    alone = [product for product, *_ in devices]
    for (product, path), (serial, boots) in truth.items():
        if alone.count(product) == 1:
            mine = next(one for one in host.usb if one.product == product)
            assert (mine.path in {path, None}, mine.serial, mine.boots_host) == (True, serial, boots)
