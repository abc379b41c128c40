"""The help desk as a web application: FastAPI, with OpenTelemetry's own instrumentation on the same meter provider."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated

import anthropic
import httpx2
import openai
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from openai import AsyncStream
from openai.types.chat import ChatCompletionChunk
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider
from pydantic import BaseModel

from llmwatch.demo._application import HelpDesk, RefusedError

HERE = r"http://(?:127\.0\.0\.1|localhost)(?::\d+)?"
"""Pages of this machine, the live page of llmwatch among them."""
_VENDOR_FAILURES = (openai.OpenAIError, anthropic.AnthropicError, httpx2.TransportError)
_BRIEF = 3  # chunks


class Question(BaseModel):
    """What somebody wants to know: how many seconds they wait for a vendor, and whether a few words will do."""

    text: str
    patience: float | None = None
    brief: bool = False


class Ticket(BaseModel):
    """What somebody wants to be done."""

    text: str
    urgent: bool = False


def web_application(
    opening: Callable[[], AbstractAsyncContextManager[HelpDesk]], provider: MeterProvider, *further: APIRouter
) -> FastAPI:
    """The application; its requests are measured on the provider, beside the calls of models that they make.

    The further routes are none of the help desk's, and are not measured.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opening() as app.state.desk:
            yield

    app = FastAPI(title="Help desk", lifespan=lifespan)
    app.add_middleware(CORSMiddleware, allow_origin_regex=HERE, allow_methods=["GET", "POST", "DELETE"])
    for router in (_routes, *further):
        app.include_router(router)
    app.add_exception_handler(RefusedError, _refused)
    for failure in _VENDOR_FAILURES:
        app.add_exception_handler(failure, _out_of_order)
    # The stable names of HTTP metrics, unless somebody has said otherwise; the instrumentation reads it once.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    FastAPIInstrumentor.instrument_app(
        app,
        meter_provider=provider,
        tracer_provider=NoOpTracerProvider(),
        excluded_urls=",".join(route.prefix for route in further if route.prefix),
    )
    return app


def _desk(request: Request) -> HelpDesk:
    desk: HelpDesk = request.app.state.desk
    return desk


_Desk = Annotated[HelpDesk, Depends(_desk)]
_routes = APIRouter()


@_routes.post("/chat")
async def _chat(question: Question, desk: _Desk) -> StreamingResponse:
    chunks = await desk.chat(question.text, question.patience)
    return StreamingResponse(_texts(chunks, question.brief), media_type="text/plain")


@_routes.post("/search")
def _search(question: Question, desk: _Desk) -> dict[str, str]:
    return {"answer": desk.search(question.text)}


@_routes.post("/summaries")
async def _summarise(document: Question, desk: _Desk) -> dict[str, str]:
    return {"summary": await desk.summarise(document.text)}


@_routes.post("/tickets")
def _file(ticket: Ticket, desk: _Desk) -> dict[str, str]:
    return {"queue": desk.triage(ticket.text, urgent=ticket.urgent)}


async def _texts(chunks: AsyncStream[ChatCompletionChunk], brief: bool) -> AsyncIterator[str]:
    sent = 0
    try:
        async with chunks:
            async for chunk in chunks:
                if text := chunk.choices[0].delta.content if chunk.choices else None:
                    yield text
                    sent += 1
                    await asyncio.sleep(
                        0
                    )  # many may be there at once: whether somebody still reads is seen between them
                if brief and sent == _BRIEF:
                    return
    except _VENDOR_FAILURES:  # too late for a status
        yield " (the answer broke off)"


def _refused(_: Request, refusal: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(refusal)}, 422)


def _out_of_order(_: Request, failure: Exception) -> JSONResponse:
    late = isinstance(failure, openai.APITimeoutError | anthropic.APITimeoutError | httpx2.TimeoutException)
    return JSONResponse({"detail": "Please try again later."}, 504 if late else 502)
