"""FastAPI: one page from the HTTP request through guard, agent and tool to the model. Needs openai, or a stand-in."""

import os
from urllib.request import urlopen

os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # the stable names of HTTP metrics, in seconds

from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import OpenAI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider

import llmwatch

provider = MeterProvider()  # both record on it
page = llmwatch.configure(service_name="library", meter_provider=provider, port=0)
client = llmwatch.watch(OpenAI(), account="library")
app = FastAPI()
FastAPIInstrumentor.instrument_app(app, meter_provider=provider)


@llmwatch.observe_tool
def shelf(topic: str) -> str:
    return f"{topic} is on the second floor"


@app.get("/ask")
@llmwatch.observe_agent("librarian", feature="library")
def ask(question: str) -> str:
    llmwatch.record_guard("length", "allowed" if len(question) < 200 else "rejected", stage="input")
    with llmwatch.track_request(provider="openai") as request:
        reply = client.responses.create(model="gpt-4o-mini", input=f"{shelf('Poetry')}. {question}")
        return request.observe(reply).output_text


TestClient(app).get("/ask", params={"question": "Where are the poems?"})
print(urlopen(f"{page.url}/metrics").read().decode())
