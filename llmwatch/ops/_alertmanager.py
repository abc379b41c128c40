"""Alertmanager: the hand-written routes and inhibitions, with the receivers that the options name."""

from __future__ import annotations

import json
from typing import get_args

from llmwatch.ops._options import Options, Receiver, Role
from llmwatch.ops._templates import filled


def alertmanager(options: Options) -> dict[str, str]:
    """Routes, inhibitions, receivers, and what a notification looks like."""
    named = [role for role in get_args(Role) if any(receiver.role == role for receiver in options.receivers)]
    page, cost = (role if role in named else "ticket" for role in ("page", "cost"))
    values = {
        "service": options.service,
        "page": page,
        "cost": cost,
        "cost_too": "true" if page != cost else "false",
        "smtp": _smtp(options.smtp),
        "receivers": "\n".join(_receivers(role, options) for role in {"ticket": None, **dict.fromkeys(named)}),
    }
    return {f"alertmanager/{path}": text for path, text in filled("alertmanager", values).items()}


def _smtp(server: str | None) -> str:
    if server is None:
        return ""
    host = server.rpartition(":")[0]
    return f"  smtp_smarthost: {json.dumps(server)}\n  smtp_from: {json.dumps(f'alertmanager@{host}')}\n"


def _receivers(role: str, options: Options) -> str:
    """The receiver of a role, with all its ways; without any it only stands on Alertmanager's page."""
    lines = [f"  - name: {role}"]
    for kind, fields in _FIELDS.items():
        ways = [receiver for receiver in options.receivers if (receiver.role, receiver.kind) == (role, kind)]
        if ways:
            lines.append(f"    {kind}_configs:")
        for way in ways:
            lines.append(f"      - {_target(way)}: {json.dumps(way.target)}")
            lines += [f"        {field}: {value}" for field, value in fields.items()]
    return "\n".join(lines)


def _target(receiver: Receiver) -> str:
    name = {"slack": "api_url", "pagerduty": "routing_key", "webhook": "url", "email": "to"}[receiver.kind]
    return f"{name}_file" if receiver.is_file else name


_TITLE, _TEXT = """'{{ template "llmwatch.title" . }}'""", """'{{ template "llmwatch.text" . }}'"""
_FIELDS = {
    "slack": {"send_resolved": "true", "title": _TITLE, "text": _TEXT},
    "pagerduty": {"description": _TITLE, "details": f"{{alerts: {_TEXT}}}"},
    "webhook": {"send_resolved": "true"},
    "email": {"send_resolved": "true", "headers": f"{{Subject: {_TITLE}}}", "text": _TEXT, "html": "''"},
}
