"""Incidents by hand: HTTP routes that begin and end one, for whoever sits at this machine."""

from __future__ import annotations

import re
from typing import Protocol

from fastapi import APIRouter, Depends, HTTPException, Request

from llmwatch.demo._incidents import INCIDENTS
from llmwatch.demo._web import HERE


class Switch(Protocol):
    """What incidents are begun and ended with."""

    @property
    def incident(self) -> str | None:
        """The name of the one that is on."""

    def take_over(self, name: str | None) -> None:
        """Begins one in place of any other, or ends it; the course of events is in the visitor's hands from now on."""


def incident_routes(switch: Switch) -> APIRouter:
    """`GET /incidents`, and `POST` and `DELETE /incidents/{name}`; refused to other machines and to other sites."""
    router = APIRouter(prefix="/incidents", dependencies=[Depends(_from_here)])

    @router.get("")
    def present() -> dict[str, object]:
        headlines = {name: incident.headline for name, incident in INCIDENTS.items()}
        return {"on": switch.incident, "incidents": headlines}

    @router.post("/{name}")
    def begin(name: str) -> dict[str, object]:
        if name not in INCIDENTS:
            raise HTTPException(404, f"no incident {name!r}; there are {', '.join(INCIDENTS)}")
        switch.take_over(name)
        return present()

    @router.delete("/{name}")
    def end(name: str) -> dict[str, object]:
        if name != switch.incident:
            raise HTTPException(404, f"{name!r} is not on")
        switch.take_over(None)
        return present()

    return router


def _from_here(request: Request) -> None:
    """A page of another site, or a name that only resolves to this machine, gets nothing."""
    host = f"http://{request.headers.get('host', '')}"
    if not (re.fullmatch(HERE, host) and re.fullmatch(HERE, request.headers.get("origin", host))):
        raise HTTPException(403, "only from this machine")
