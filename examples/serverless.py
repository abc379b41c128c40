"""A function that is frozen between its invocations, and a job that ends before anybody could scrape it."""

import asyncio
import os

import llmwatch

GATEWAY = os.environ.get("PUSHGATEWAY")  # host:9091, where there is one


@llmwatch.observe_llm(feature="summary", provider="openai", model="gpt-4o-mini")
async def summarise(text: str) -> dict[str, object]:
    return {"object": "chat.completion", "usage": {"prompt_tokens": len(text), "completion_tokens": 3}}


def handler(event: dict[str, str], _context: object = None) -> str:
    """As AWS Lambda calls it: nothing runs between two invocations, so each sends what it has before it answers."""
    try:
        return str(asyncio.run(summarise(event["text"])))
    finally:
        llmwatch.flush(timeout=2)


async def job() -> None:
    async with llmwatch.session(service_name="nightly", pushgateway=GATEWAY):  # sends at its end, also when it fails
        await asyncio.gather(*(summarise(text) for text in ("first", "second")))


llmwatch.configure(service_name="function")  # where to is in the environment: OTEL_EXPORTER_OTLP_ENDPOINT
print(handler({"text": "to be summarised"}))
llmwatch.shutdown()
asyncio.run(job())
