"""Read vSphere tags. The SOAP API has none: they are in the vSphere Automation API, on the same port.

Calls (developer.broadcom.com, vSphere Automation API, `session` and `cis/tagging`): a session for name and password,
the tags on many objects in one call, then each tag and category once, for their names. `/api` is there since 7.0 U2;
what has only the older form, `/rest` with its `value` around every answer, is asked in that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from passgate.connect.vsphere.session import host_and_port, numbers, trusting
from passgate.errors import LoginError, PassgateError, RefusedError, TrustError, UnreachableError, UnsupportedError

OLDEST = (7, 0)
HEADER = "vmware-api-session-id"
OLD_API = "Tags are read from vCenter 7.0 on. Let no rule, window, freeze or entry of targets.yaml speak of tags."
RIGHTS = "Give Passgate's account the right to read vSphere tags and their categories, at the top of the inventory."


@dataclass(frozen=True)
class Form:
    """Hold how the API is spoken to: where it begins, where sessions are made, and how an action is named."""

    base: str
    session: str
    action: str
    identified: str

    def of(self, answer: Any) -> Any:
        """Return what an answer holds."""
        return answer.get("value") if self.base != "/api" and isinstance(answer, dict) else answer


FORMS = (
    Form("/api", "/api/session", "action", "{0}"),
    Form("/rest", "/rest/com/vmware/cis/session", "~action", "id:{0}"),
)


class Tags:
    """Read the tags of VMs and hosts. Each reading makes a session of its own, and ends it."""

    def __init__(
        self, url: str, *, user: str, password: Callable[[], str], ca: str | None = None, timeout: float = 30.0
    ) -> None:
        host, port = host_and_port(url)
        self.address = f"{host}:{port}"
        self._user, self._password = user, password
        self._tls, self._timeout = trusting(ca), timeout
        self.heard: Callable[[httpx.Response], None] = lambda _: None
        """Told of each answer, so that round trips can be counted."""

    def of(self, vms: Iterable[str], hosts: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return managed object id -> its tags as `Category/Name`, in order of the alphabet.

        Raises UnsupportedError where there is no such API, LoginError, TrustError, UnreachableError, RefusedError.
        """
        objects = [{"type": "VirtualMachine", "id": ref} for ref in sorted(set(vms))]
        objects += [{"type": "HostSystem", "id": ref} for ref in sorted(set(hosts))]
        if not objects:
            return {}
        with (
            self._spoken(),
            httpx.Client(
                base_url=f"https://{self.address}",
                verify=self._tls,
                timeout=self._timeout,
                trust_env=False,
                event_hooks={"response": [self.heard]},
            ) as http,
        ):
            form = self._log_in(http)
            try:
                return self._read(http, form, objects)
            finally:
                http.delete(form.session)

    def _log_in(self, http: httpx.Client) -> Form:
        """Return the form that the server speaks, with the session's id in the headers from here on."""
        for form in FORMS:
            answer = http.post(form.session, auth=(self._user, self._password()))
            if answer.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                continue
            http.headers[HEADER] = str(form.of(self._data(answer)))
            return form
        raise UnsupportedError(
            f"{self.address} has no vSphere Automation API, so that the tags of its VMs and hosts can't be read.",
            hint=OLD_API,
            subject=self.address,
        )

    def _read(self, http: httpx.Client, form: Form, objects: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
        def get(kind: str, identity: str) -> Any:
            place = form.identified.format(identity)
            return form.of(self._data(http.get(f"{self._tagging(form)}/{kind}/{place}")))

        answer = http.post(
            f"{self._tagging(form)}/tag-association",
            params={form.action: "list-attached-tags-on-objects"},
            json={"object_ids": objects},
        )
        attached = {one["object_id"]["id"]: one["tag_ids"] or () for one in form.of(self._data(answer)) or ()}
        tags = {one: get("tag", one) for one in sorted({tag for mine in attached.values() for tag in mine})}
        categories = {
            one: get("category", one)["name"] for one in sorted({tag["category_id"] for tag in tags.values()})
        }
        names = {one: f"{categories[tag['category_id']]}/{tag['name']}" for one, tag in tags.items()}
        return {one["id"]: tuple(sorted(names[tag] for tag in attached.get(one["id"], ()))) for one in objects}

    def _tagging(self, form: Form) -> str:
        return f"{form.base}/cis/tagging" if form.base == "/api" else f"{form.base}/com/vmware/cis/tagging"

    def _data(self, answer: httpx.Response) -> Any:
        """Return what the server answered, or raise what it refused."""
        status = answer.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            raise LoginError(
                f"{self.address} does not let {self._user} in, so that tags can't be read.",
                hint="Check vcenter.user and vcenter.password in site.yaml.",
                subject=self.address,
            )
        if not answer.is_success:
            raise RefusedError(
                f"{self.address} refused to tell tags (HTTP {status} at {answer.request.url.path}).",
                fault=str(status),
                hint=RIGHTS,
                subject=self.address,
            )
        return answer.json()

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Say what TLS, the network, and answers that nobody can read mean."""
        try:
            yield
        except PassgateError:
            raise
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise TrustError(
                    f"The certificate of {self.address} is not trusted, so that tags can't be read.",
                    hint="Name the certificate of its CA in vcenter.ca in site.yaml.",
                    subject=self.address,
                ) from error
            raise self._away(error) from error
        except httpx.HTTPError as error:
            raise self._away(error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnsupportedError(
                f"{self.address} answered about tags in a form that Passgate does not know.",
                hint=OLD_API,
                subject=self.address,
            ) from error

    def _away(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"{self.address} does not answer about tags ({type(error).__name__}).",
            hint="See that vCenter's vSphere Automation API (vapi-endpoint) runs.",
            subject=self.address,
        )


def require_tags(api_version: str, *, standalone: bool, address: str) -> None:
    """Raise UnsupportedError where there can't be tags: an ESXi host alone, or a vCenter that is too old."""
    if standalone:
        raise UnsupportedError(
            f"{address} is an ESXi host without a vCenter: it has no tags.", hint=OLD_API, subject=address
        )
    if numbers(api_version) < OLDEST:
        raise UnsupportedError(
            f"The vCenter {address} speaks the API {api_version}, too old for tags.", hint=OLD_API, subject=address
        )
