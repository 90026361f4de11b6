"""Tickets for what browsers open without headers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from stpe.serve import problems, tickets
from stpe.serve.services import Feature, Services, services

router = APIRouter(tags=["tickets"])
Shared = Annotated[Services, Depends(services)]


class TicketRequest(BaseModel):
    """What is to be opened."""

    path: str = Field(
        pattern="^/[^?#]*$",
        max_length=1024,
        description="of the WebSocket or GET address, without its query",
        examples=["/api/v1/video/ws/propagate/0123"],
    )
    seconds: int = Field(default=300, ge=1, le=tickets.MOST_S, description="until it ends")


class Ticket(BaseModel):
    """Good for one path; append it to the address as `?ticket=`."""

    ticket: str
    expires_at: float = Field(description="seconds since 1970")


@router.post("/api/v1/tickets", responses=problems.responses(401, 422))
async def issue(body: TicketRequest, shared: Shared) -> Ticket:
    """Get a ticket for a WebSocket or an event stream, which a browser opens without headers. It
    opens that path only, for reading, until it ends. Without a key on the server none is needed,
    and this one is not looked at."""
    key = shared.settings.api_key
    ticket, ends = tickets.issue(
        "" if key is None else key.get_secret_value(), body.path, body.seconds
    )
    return Ticket(ticket=ticket, expires_at=ends)


FEATURE = Feature(router)
