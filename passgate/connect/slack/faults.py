"""Turn what Slack answers into Passgate's own errors, in words that say what to do."""

from __future__ import annotations

from typing import Any

from passgate.errors import LoginError, RefusedError, UnreachableError, WorldError

_LOGIN_FAULTS = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type"}
)
_DOWN_FAULTS = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_HINTS = {
    "channel_not_found": "Check the channel id in config/chat.yaml; the app must be a member: /invite it there.",
    "not_in_channel": "Invite the app into the channel with /invite.",
    "is_archived": "Unarchive the channel, or name another one in config/chat.yaml.",
    "missing_scope": "Add the scope to the Slack app (OAuth & Permissions) and install the app again.",
}
_SERVER_ERROR = 500
_TOO_MANY = 429


def in_words(error: BaseException | None) -> str:
    """Name an error without its text, which may hold an address with a ticket in it."""
    return type(error).__name__ if error is not None else ""


def rate_limit(response: Any) -> float | None:
    """Return how long Slack wants us to wait; None when this is no rate limit."""
    limited = getattr(response, "status_code", 0) == _TOO_MANY or _fault(response) in {"ratelimited", "rate_limited"}
    if not limited:
        return None
    headers = {str(name).lower(): value for name, value in (getattr(response, "headers", None) or {}).items()}
    try:
        return max(0.0, float(headers.get("retry-after", 1)))
    except ValueError:
        return 1.0


def _fault(response: Any) -> str:
    data = getattr(response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def refusal(method: str, response: Any) -> WorldError:
    """Turn Slack's answer into the error that says what to do."""
    fault = _fault(response)
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    if status >= _SERVER_ERROR or fault in _DOWN_FAULTS or not fault:
        return UnreachableError(
            f"Slack failed at {method} ({fault or f'HTTP {status}'}); whether it took the call is not known.",
            hint="Passgate looks before it repeats. See status.slack.com if this lasts.",
            subject=method,
        )
    if fault in _LOGIN_FAULTS:
        which = "app token (xapp-)" if method == "apps.connections.open" else "bot token (xoxb-)"
        return LoginError(
            f"Slack refused the {which}: {fault}.",
            hint="Put a valid token where config/chat.yaml refers to, then restart Passgate.",
            subject=method,
        )
    needed = f": the scope {response.data['needed']} is missing" if response.data.get("needed") else f": {fault}"
    details = (response.data.get("response_metadata") or {}).get("messages") or ()
    said = f" ({'; '.join(str(one) for one in details)[:300]})" if details else ""
    hint = _HINTS.get(fault, "Look the fault up at docs.slack.dev under the method's name.")
    return RefusedError(f"Slack refused {method}{needed}{said}.", fault=fault, hint=hint, subject=method)
