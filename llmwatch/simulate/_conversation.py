"""How a simulated vendor deals with one request: refuse it, answer it, stream it, or break off, and write it down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from llmwatch.simulate._account import Account
from llmwatch.simulate._dialect import Api, Ask, BadRequestError, Complaint, Frame, Reply, Tokens, compose
from llmwatch.simulate._exchange import Exchange, GoneError
from llmwatch.simulate._ledger import Ending, Ledger, Served
from llmwatch.simulate._limits import Shortage

_FLAWED_STREAMS = ("stream_error", "broken_stream")
_SERVED_IN_FULL = ("ok", "slow_start", "slow_stream")
_ERRORS_COME_SOONER = 0.1


class Conversation:
    """One request from its body to its line in the ledger, which is written before the last byte is."""

    def __init__(self, exchange: Exchange, api: Api, account: Account, ledger: Ledger, time_scale: float) -> None:
        self._exchange = exchange
        self._api = api
        self._account = account
        self._ledger = ledger
        self._time_scale = time_scale
        self._began = time.monotonic()
        self._turn = account.turn()
        self._request_id = account.dialect.request_id(self._turn.random)
        self._ask: Ask | None = None
        self._response_model: str | None = None
        self._tokens = Tokens()

    async def run(self) -> None:
        try:
            await self._answer()
        except GoneError as gone:
            if gone.by_vendor and not self._exchange.status:
                # A connection can only be broken off once there is a response; uvicorn would make it a 500 of its own.
                await self._begin(200, {"content-type": "application/json", "content-length": "1"})
            self._write_down("broken" if gone.by_vendor else "client_gone")

    async def _answer(self) -> None:
        try:
            ask = self._ask = self._api.read(await self._exchange.read_json())
        except BadRequestError as bad:
            return await self._refuse("invalid_request", bad=bad)
        if not self._account.dialect.key_headers & self._exchange.header_names:
            return await self._refuse("authentication")
        model = self._account.dialect.dated_models.get(ask.model, ask.model)
        reply = compose(ask, model, self._turn.behaviour, self._turn.plan, self._turn.random, int(time.time()))
        outcome = self._turn.plan.outcome
        if outcome in _SERVED_IN_FULL or outcome in _FLAWED_STREAMS:
            shortage = self._account.take(reply, force=self._turn.scripted)
            if shortage is not None:
                return await self._refuse("rate_limit", reply, shortage)
        if ask.streamed and outcome in (*_SERVED_IN_FULL, *_FLAWED_STREAMS):
            return await self._stream(reply)
        if outcome in _SERVED_IN_FULL or outcome == "broken_stream":
            return await self._plain(reply, broken=outcome == "broken_stream")
        await self._refuse("server_error" if outcome == "stream_error" else outcome, reply)

    async def _plain(self, reply: Reply, *, broken: bool) -> None:
        plan = self._turn.plan
        await self._pause(plan.first_byte + plan.gap * max(0, len(reply.pieces) - 1))
        document, tokens = self._api.plain(reply)
        data = json.dumps(document, separators=(",", ":")).encode()
        await self._begin(200, {"content-type": "application/json", "content-length": f"{len(data)}"})
        if broken:
            self._write_down("broken")
            return await self._exchange.write(data[: len(data) // 2])
        self._tokens = tokens
        self._response_model = reply.model
        self._write_down("ok")
        await self._exchange.write(data, last=True)

    async def _stream(self, reply: Reply) -> None:
        frames = self._api.frames(reply)
        outcome = self._turn.plan.outcome
        flawed = outcome in _FLAWED_STREAMS
        sent = frames[: len(frames) // 2] if flawed else frames
        tail = self._api.interrupt(reply, sent, self._request_id) if outcome == "stream_error" else []
        await self._pause(self._turn.plan.first_byte)
        await self._begin(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"})
        self._response_model = reply.model
        await self._send_frames(sent if flawed else sent[:-1])
        if outcome == "broken_stream":
            return self._write_down("broken")
        last = tail or sent[-1:]
        self._tokens = last[-1].tokens or self._tokens
        self._write_down("error" if tail else "ok", self._api.interruption if tail else None)
        await self._exchange.write(b"".join(frame.data for frame in last), last=True)

    async def _send_frames(self, frames: list[Frame]) -> None:
        texts = 0
        for frame in frames:
            texts += frame.text
            await self._pause(self._turn.plan.gap if frame.text and texts > 1 else 0.0)
            self._tokens = frame.tokens or self._tokens
            await self._exchange.write(frame.data)

    async def _refuse(
        self,
        kind: str,
        reply: Reply | None = None,
        shortage: Shortage | None = None,
        bad: BadRequestError | None = None,
    ) -> None:
        await self._pause(self._turn.plan.first_byte * _ERRORS_COME_SOONER)
        behaviour = self._turn.behaviour
        wait = max(shortage.wait, behaviour.least_wait) if shortage else behaviour.retry_after
        refusal = self._account.dialect.refuse(
            Complaint(
                kind=kind,
                model=self._ask.model if self._ask else "",
                request_id=self._request_id,
                message=bad.message if bad else None,
                param=bad.param if bad else None,
                tokens=reply.input + reply.output if reply else 0,
                retry_after=wait if kind == "rate_limit" else None,
                shortage=shortage,
                limit=self._account.states().get(shortage.resource) if shortage else None,
            )
        )
        data = json.dumps(refusal.body).encode()
        length = {"content-type": "application/json", "content-length": f"{len(data)}"}
        await self._begin(refusal.status, {**length, **refusal.headers})
        self._write_down("error", kind)
        await self._exchange.write(data, last=True)

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        dialect = self._account.dialect
        states = self._account.states() if status in dialect.limits_told_on else {}
        seconds = time.monotonic() - self._began
        await self._exchange.begin(status, {**headers, **dialect.headers(self._request_id, states, seconds)})

    async def _pause(self, seconds: float) -> None:
        await self._exchange.pause(seconds * self._time_scale)

    def _write_down(self, ending: Ending, error: str | None = None) -> None:
        ask, tokens = self._ask, self._tokens
        self._ledger.add(
            Served(
                provider=self._account.dialect.provider,
                api=self._api.name,
                model=ask.model if ask else None,
                response_model=self._response_model,
                status=self._exchange.status,
                streamed=ask.streamed if ask else False,
                outcome=ending,
                error=error,
                input_tokens=tokens.input,
                output_tokens=tokens.output,
                cache_read_tokens=tokens.cache_read,
                cache_write_tokens=tokens.cache_write,
                reasoning_tokens=tokens.reasoning,
            )
        )
