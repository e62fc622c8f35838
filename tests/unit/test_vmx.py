"""Prove that a VMX file is changed in the one line that is meant, and that nothing in it is ever lost or guessed at."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from passgate.connect.esxi_shell.vmx import Vmx
from passgate.connect.esxi_shell.vmx_file import volume_path
from passgate.errors import InputError, RefusedError

KEY = "usb.generic.allowCCID"
FILE = b"""#!/usr/bin/vmware
.encoding = "UTF-8"
displayName = "lic |22one|22 \xc3\xbc"
guestOS="ubuntu-64"
  usb_xhci.present = "TRUE"   # mine

not a line at all
broken = "no end
bare = TRUE
"""
ends = st.sampled_from([b"\n", b"\r\n"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
lines = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda key, value: f'{key} = "{value}"'.encode(), st.sampled_from(["a.b", "memSize", "x"]), texts),
)
files = st.builds(
    lambda parts, tail: b"".join(line + end for line, end in parts) + tail,
    st.lists(st.tuples(lines, ends), max_size=12),
    st.one_of(st.just(b""), st.binary(max_size=20)),
)


@given(st.binary(max_size=400))
@example(FILE)
def test_what_is_read_is_what_was_there(content: bytes) -> None:
    """Any bytes are kept as they are; reading loses nothing and raises nothing."""
    vmx = Vmx(content)

    assert vmx.content == content
    assert all(one.key for one in vmx.entries())


@given(files, texts)
@example(FILE, "TRUE")
@example(b"a = 'x'", "|22\n")
def test_a_new_key_is_the_only_change(content: bytes, value: str) -> None:
    """The file goes on as it was, with one line behind it that says exactly that value; removed, it is as before."""
    before = Vmx(content)
    if before_has(before):
        return

    after = before.replaced(KEY, value)

    assert after.get(KEY) == value
    assert after.content.startswith(content)
    assert after.content.count(b"\n") <= content.count(b"\n") + 2
    assert after.replaced(KEY.upper(), value) == after or after.replaced(KEY.upper(), value).content == after.content
    gone = after.replaced(KEY, None).content
    assert gone.removesuffix(b"\n").removesuffix(b"\r") == content.removesuffix(b"\n").removesuffix(b"\r")
    assert not content.endswith(b"\n") or gone == content


@given(files, files, ends, texts, texts)
def test_a_key_that_is_there_changes_in_its_place(head: bytes, tail: bytes, end: bytes, old: str, new: str) -> None:
    """Only the value between the quotes changes: spelling, spaces, comment, line end and all other lines stay."""
    head = head if head.endswith(b"\n") or not head else head + b"\n"
    if before_has(Vmx(head)) or before_has(Vmx(tail)):
        return
    line = Vmx(b"").replaced("USB.Generic.allowccid", old).content.removesuffix(b"\n") + b"  # why" + end

    after = Vmx(head + line + tail).replaced(KEY, new)

    assert after.get(KEY) == new
    middle = after.content.removeprefix(head).removesuffix(tail) if tail else after.content.removeprefix(head)
    assert middle.startswith(b'USB.Generic.allowccid = "')
    assert middle.endswith(b'"  # why' + end)
    assert after.replaced(KEY, old).content == head + line + tail
    assert after.replaced(KEY, None).content == head + tail


def before_has(vmx: Vmx) -> bool:
    """Say whether the generated file speaks of the key already."""
    try:
        return vmx.get(KEY) is not None
    except RefusedError:
        return True


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'usb.generic.allowCCID = "TRUE"\n', "TRUE"),
        (b'USB.GENERIC.ALLOWCCID="false"', "false"),
        (b"\tusb.generic.allowCCID =  TRUE # yes\r\n", "TRUE"),
        (b'usb.generic.allowCCID = ""\n', ""),
        (b'usb.generic.allowCCID = "a|22b|7cc"\n', 'a"b|c'),
        (b'# usb.generic.allowCCID = "TRUE"\n', None),
        (b'usb.generic.allowCCID2 = "TRUE"\nx.usb.generic.allowCCID = "TRUE"\n', None),
        (b"", None),
    ],
)
def test_values(content: bytes, value: str | None) -> None:
    """Keys are alike in any case, values with and without quotes; comments and longer keys are others."""
    assert Vmx(content).get(KEY) == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'usb.generic.allowCCID = "TRUE"\nx = "1"\nUSB.generic.allowCCID = "FALSE"\n', "in lines 1, 3"),
        (b'a = "1"\nusb.generic.allowCCID = "TRUE\n', "line 2 is about"),
        (b"usb.generic.allowCCID\n", "line 1 is about"),
        (b'usb.generic.allowCCID = "TRUE" x\n', "line 1 is about"),
        (b'usb.generic.allowCCID = "TRUE"\rb = "2"\n', "line 1 is about"),
    ],
)
def test_what_is_not_clear_is_refused(content: bytes, said: str) -> None:
    """A key that stands twice, or in a line that can't be read, is neither read nor written over."""
    for act in (lambda vmx: vmx.get(KEY), lambda vmx: vmx.replaced(KEY, "TRUE"), lambda vmx: vmx.replaced(KEY, None)):
        with pytest.raises(RefusedError, match=said):
            act(Vmx(content))


@pytest.mark.parametrize("key", ["", "a b", 'a"b', "a=b", "a\nb", "#a", "ü"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """Nothing that would not be read back as that key is written."""
    with pytest.raises(InputError, match="is no key"):
        Vmx(FILE).replaced(key, "TRUE")


def test_paths() -> None:
    """A datastore path leads to one place below /vmfs/volumes, whatever is in its names."""
    assert volume_path("[data store 1] it's $(x)/a b.vmx") == "/vmfs/volumes/data store 1/it's $(x)/a b.vmx"


@pytest.mark.parametrize(
    "path", ["", "x.vmx", "[] a.vmx", "[ds]a.vmx", "[ds] ../a.vmx", "[ds] a//b.vmx", "[..] a.vmx", "[a/b] c.vmx",
             "[ds] /etc/a.vmx", "[ds] a.vmx\x00.vmx", "[ds] a.vmdk"],
)  # fmt: skip
def test_what_is_no_path_is_refused(path: str) -> None:
    """Nothing outside of a datastore is ever touched."""
    with pytest.raises(InputError, match="no path of a VMX file"):
        volume_path(path)
