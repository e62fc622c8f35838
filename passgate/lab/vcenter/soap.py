"""Read SOAP requests and write SOAP answers with pyVmomi's (de)serializers (recipe: reference simulators 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

from pyVmomi import SoapAdapter, VmomiSupport

VERSION = "vim.version.v8_0_2_0"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_NAMESPACES = {
    "http://schemas.xmlsoap.org/soap/encoding/": "soapenc",
    "http://www.w3.org/2001/XMLSchema": "xsd",
    _ENVELOPE: "soapenv",
    "urn:vim25": "",
    "http://www.w3.org/2001/XMLSchema-instance": "xsi",
}
_OPEN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope'
    ' xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    "<soapenv:Body>"
)
_CLOSE = "</soapenv:Body></soapenv:Envelope>"


class BadRequestError(Exception):
    """Raised when a request is not what the WSDL says; the client gets an InvalidRequest fault."""


@dataclass(frozen=True)
class Request:
    """Hold one call: WSDL method name, the object that it is for, and its arguments by parameter name."""

    method: str
    target: Any
    arguments: dict[str, Any]
    info: Any
    version: str


def version_of(action: str) -> str:
    """Return pyVmomi's name for the API version in a SOAPAction header; ours where it names none that we serve."""
    named = VmomiSupport.versionMap.get(action.strip('"').removeprefix("urn:"), VERSION)
    return named if VmomiSupport.IsChildVersion(VERSION, named) else VERSION


class _Reader(SoapAdapter.ExpatDeserializerNSHandlers):
    """Take the first element in the body as the method, and feed its children to pyVmomi's deserializer."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self.deserializer = SoapAdapter.SoapDeserializer(None, version)
        self.parser: Any = None
        self.nsMap: dict[str, list[str]] = {}  # pyVmomi's name for it
        self.in_body = False
        self.method = ""
        self.info: Any = None
        self.types: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.waiting: str | None = None

    def read(self, body: bytes) -> None:
        self.parser = ParserCreate(namespace_separator=SoapAdapter.NS_SEP)
        self.parser.buffer_text = True
        SoapAdapter.SetHandlers(self.parser, SoapAdapter.GetHandlers(self))
        self.parser.Parse(body, True)  # noqa: FBT003 - expat takes no keywords
        self.collect()

    def StartElementHandler(self, tag: str, attr: dict[str, str]) -> None:
        space, _, name = tag.rpartition(SoapAdapter.NS_SEP)
        self.collect()
        if not self.in_body:
            self.in_body = (space, name) == (_ENVELOPE, "Body")
        elif not self.method:
            self.method = name
            if name != "Fetch":  # not in the WSDL; pyVmomi reads single properties with it
                self.info = VmomiSupport.GuessWsdlMethod(name).info
            params = self.info.params if self.info else [VmomiSupport.Object(name="prop", type=str)]
            self.types = {"_this": VmomiSupport.ManagedObject} | {one.name: one.type for one in params}
        else:
            if name not in self.types:
                raise BadRequestError(f"{self.method} has no parameter {name}.")
            self.waiting = name
            kind = self.types[name]
            item = kind.Item if issubclass(kind, list) else kind
            self.deserializer.Deserialize(self.parser, item, isFault=False, nsMap=self.nsMap)
            self.deserializer.StartElementHandler(tag, attr)

    def EndElementHandler(self, tag: str) -> None:  # noqa: ARG002 - expat passes it
        self.collect()

    def CharacterDataHandler(self, data: str) -> None:
        """Pass over the white space between elements."""

    def collect(self) -> None:
        """Keep the value that was read last; lists come one item at a time."""
        if self.waiting is None:
            return
        name, self.waiting = self.waiting, None
        value, kind = self.deserializer.GetResult(), self.types[name]
        if issubclass(kind, list):
            self.values.setdefault(name, kind()).append(value)
        else:
            self.values[name] = value


def read_request(body: bytes, action: str) -> Request:
    """Parse one SOAP request; raises BadRequestError for anything that the WSDL does not know."""
    version = version_of(action)
    reader = _Reader(version)
    try:
        reader.read(body)
        target = reader.values.pop("_this")
    except (KeyError, TypeError, AttributeError, ValueError, ExpatError) as error:
        raise BadRequestError(f"Unable to parse the request: {error}") from error
    for param in reader.info.params if reader.info else ():
        missing = param.type() if issubclass(param.type, list) else None
        reader.values.setdefault(param.name, missing)
    return Request(reader.method, target, reader.values, reader.info, version)


def write_answer(request: Request, value: Any, result: Any) -> str:
    """Return the SOAP answer; `result` is the type that the method (or the property, for Fetch) returns."""
    body = ""
    if value is not None and not (isinstance(value, list) and not value) and result is not type(None):
        slot = VmomiSupport.Object(
            name="returnval", type=result, flags=VmomiSupport.F_OPTIONAL, version="vim.version.version1"
        )
        body = SoapAdapter.SerializeToStr(value, slot, version=request.version, nsMap=_NAMESPACES)
    return f'{_OPEN}<{request.method}Response xmlns="urn:vim25">{body}</{request.method}Response>{_CLOSE}'


def write_fault(fault: Any, message: str, version: str) -> str:
    """Return a SOAP fault whose detail is the vSphere fault with its fields."""
    kind = VmomiSupport.GetCompatibleType(type(fault), version)
    slot = VmomiSupport.Object(
        name=VmomiSupport.GetWsdlName(kind) + "Fault", type=object, version="vim.version.version1", flags=0
    )
    detail = SoapAdapter.SerializeFaultDetail(fault, slot, version=version, nsMap=_NAMESPACES)
    # The serializer leaves the element without a namespace; clients look the type up by xsi:type and the default one.
    detail = detail.replace(f"<{slot.name}", f'<{slot.name} xmlns="urn:vim25"', 1)
    return (
        f"{_OPEN}<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{escape(message)}</faultstring>"
        f"<detail>{detail}</detail></soapenv:Fault>{_CLOSE}"
    )


def serialized(value: Any) -> str:
    """Return a value as text, to tell whether it changed: pyVmomi's data objects compare by identity."""
    if value is None or (isinstance(value, list) and not value):
        return ""
    return str(SoapAdapter.SerializeToStr(value, version=VERSION))


__all__ = [
    "VERSION",
    "BadRequestError",
    "Request",
    "read_request",
    "serialized",
    "version_of",
    "write_answer",
    "write_fault",
]
