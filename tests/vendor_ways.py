"""The vendors' own client libraries: how each is asked for a response that a loopback server replays."""

from __future__ import annotations

import importlib
import json
import ssl
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from vendor_clients import Ask, Make, Transports, Way, cells

if TYPE_CHECKING:
    from collections.abc import Callable

    from corpus_rules import Item

MESSAGES = [{"role": "user", "content": "Hi"}]


def _stainless(module: str, cls: str, transport: str, path: str = "", **options: Any) -> Make:
    """A client of the family that openai, anthropic and groq are of."""

    def make(transports: Transports, url: str, asynchronous: bool) -> Any:
        made = getattr(importlib.import_module(module), f"Async{cls}" if asynchronous else cls)
        http = transports.of(transport, asynchronous=asynchronous)
        return made(base_url=url + path, http_client=http, max_retries=0, **options)

    return make


def _model(item: Item) -> str:
    return item["request_model"] or "unknown"


def _openai(client: Any, item: Item) -> Any:
    """The call of the openai client for an interface."""
    streaming = {"stream": True} if item["streaming"] else {}
    chosen: dict[str, tuple[Any, dict[str, Any]]] = {
        "chat": (client.chat.completions.create, {"messages": MESSAGES}),
        "chat.completions": (client.chat.completions.create, {"messages": MESSAGES}),
        "completions": (client.completions.create, {"prompt": "Hi"}),
        "embeddings": (client.embeddings.create, {"input": "Hi"}),
        "responses": (client.responses.create, {"input": "Hi"}),
        "responses.compact": (client.responses.compact, {"input": "Hi"}),
        "count_tokens": (client.responses.input_tokens.count, {"input": "Hi"}),
        "images": (client.images.generate, {"prompt": "Hi"}),
        "models": (client.models.retrieve, {}),
        "moderations": (client.moderations.create, {"input": "Hi"}),
        "audio.transcriptions": (client.audio.transcriptions.create, {"file": ("a.wav", b"-")}),
        "audio.translations": (client.audio.translations.create, {"file": ("a.wav", b"-")}),
    }
    call, arguments = chosen[item["api"]]
    return call(model=_model(item), **arguments, **streaming)


def _openai_run(client: Any, item: Item) -> Any:
    return client.beta.threads.runs.create("thread_1", assistant_id="asst_1", stream=item["streaming"])


def _openai_raw(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.with_raw_response.create(model=_model(item), input="Hi")
    return client.chat.completions.with_raw_response.create(model=_model(item), messages=MESSAGES)


def _openai_parse(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.parse(model=_model(item), input="Hi")
    return client.chat.completions.parse(model=_model(item), messages=MESSAGES)


def _openai_stream(client: Any, item: Item) -> Any:
    if item["api"] == "responses":
        return client.responses.stream(model=_model(item), input="Hi")
    return client.chat.completions.stream(model=_model(item), messages=MESSAGES)


_make_openai = _stainless("openai", "OpenAI", "httpx2", "/v1", api_key="k")
_OPENAI_APIS = (
    "audio.transcriptions chat.completions completions count_tokens embeddings images models moderations responses "
    "responses.compact"
).split()
_OPENAI = (*(f"*/{api}" for api in _OPENAI_APIS), "openai/audio.translations", "writer/chat")
_FOREIGN = cells("anthropic/*", "cohere/*", "gemini/*", "vertex/*", "bedrock/*")
_PARSED = ("openai/chat.completions", "openai/responses", "azure/chat.completions", "azure/responses")


def _openai_way(name: str, reads: Callable[[Item], object], ask: Ask, **reading: Any) -> Way:
    return Way(name, "openai", _make_openai, lambda item: reads(item) and not _FOREIGN(item), ask, **reading)


OPENAI = [
    _openai_way("openai", cells(*_OPENAI), _openai),
    _openai_way("openai runs", cells("openai/threads.runs"), _openai_run),
    _openai_way("openai raw", cells("*/chat.completions", "*/responses", streaming=False), _openai_raw),
    _openai_way("openai parse", cells(*_PARSED, streaming=False), _openai_parse),
    _openai_way("openai stream helper", cells("*/chat.completions", "*/responses", streaming=True), _openai_stream,
                enters=True),
    _openai_way("openai stream helper, final", cells("*/chat.completions", streaming=True), _openai_stream,
                enters=True, taking="get_final_completion"),
    _openai_way("openai stream helper, final response", cells("*/responses", streaming=True), _openai_stream,
                enters=True, taking="get_final_response"),
]  # fmt: skip


def _anthropic(client: Any, item: Item, resource: str = "create") -> Any:
    if item["api"] == "count_tokens":
        return client.messages.count_tokens(model=_model(item), messages=MESSAGES)
    streaming = {"stream": True} if item["streaming"] and resource != "stream" else {}
    messages = client.messages.with_raw_response if resource == "raw" else client.messages
    ask = getattr(messages, "create" if resource == "raw" else resource)
    return ask(model="m", max_tokens=9, messages=MESSAGES, **streaming)  # it warns of models that were retired


_make_anthropic = _stainless("anthropic", "Anthropic", "httpx2", api_key="k")
_MESSAGES = ("anthropic/messages", "vertex/messages")


def _anthropic_way(name: str, reads: Callable[[Item], object], resource: str, **reading: Any) -> Way:
    return Way(name, "anthropic", _make_anthropic, reads, partial(_anthropic, resource=resource), **reading)


_vertex = {"region": "us-east5", "project_id": "p", "access_token": "t"}
_aws = {"aws_access_key": "k", "aws_secret_key": "s", "aws_region": "us-east-1"}


def _anthropic_on_bedrock(client: Any, item: Item) -> Any:
    return client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=item["streaming"])


ANTHROPIC = [
    _anthropic_way("anthropic", cells(*_MESSAGES, "anthropic/count_tokens"), "create"),
    _anthropic_way("anthropic raw", cells(*_MESSAGES, streaming=False), "raw"),
    _anthropic_way("anthropic stream helper", cells(*_MESSAGES, streaming=True), "stream", enters=True),
    _anthropic_way("anthropic stream helper, texts", cells(*_MESSAGES, streaming=True), "stream",
                   enters=True, taking="text_stream"),
    _anthropic_way("anthropic stream helper, final", cells(*_MESSAGES, streaming=True), "stream",
                   enters=True, taking="get_final_message"),
    Way("anthropic on vertex", "google.auth", _stainless("anthropic", "AnthropicVertex", "httpx2", **_vertex),
        cells("vertex/messages"), _anthropic_on_bedrock),
    Way("anthropic on bedrock", "botocore", _stainless("anthropic", "AnthropicBedrock", "httpx2", **_aws),
        lambda item: item["api"] == "invoke_model" and "anthropic." in _model(item), _anthropic_on_bedrock),
]  # fmt: skip


@cache
def _no_roots() -> ssl.SSLContext:
    """What keeps each client from reading all of the machine's root certificates."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _make_google(transports: Transports, url: str, asynchronous: bool) -> Any:
    from google import genai

    sync, other = (transports.of("httpx2", asynchronous=kind) for kind in (False, True))
    options = genai.types.HttpOptions(
        base_url=url, httpx_client=sync, httpx_async_client=other, async_client_args={"ssl": _no_roots()}
    )
    client = genai.Client(api_key="k", vertexai="vertex-" in url, http_options=options)
    return client.aio if asynchronous else client


def _google(client: Any, item: Item) -> Any:
    model = _model(item)
    if item["api"] == "interactions":
        return client.interactions.create(model=model, input="Hi", stream=item["streaming"])
    calls = {"count_tokens": "count_tokens", "embeddings": "embed_content", "predict": "embed_content"}
    streamed = "_stream" if item["streaming"] else ""
    return getattr(client.models, calls.get(item["api"], f"generate_content{streamed}"))(model=model, contents="Hi")


GOOGLE = [
    Way("google-genai", "google.genai", _make_google,
        cells(*(f"{provider}/{api}" for provider in ("gemini", "vertex")
                for api in ("generateContent", "embeddings", "predict", "interactions", "count_tokens"))), _google),
]  # fmt: skip


def _make_mistral(transports: Transports, url: str, asynchronous: bool) -> Any:
    """The client, and what its methods for this kind of program end in."""
    from mistralai.client import Mistral

    sync, other = (transports.of("httpx2", asynchronous=kind) for kind in (False, True))
    client = Mistral(api_key="k", server_url=url, client=sync, async_client=other)
    return client, "_async" if asynchronous else ""


def _mistral(client: Any, item: Item) -> Any:
    mistral, kind = client
    chosen: dict[str, tuple[Any, dict[str, Any]]] = {
        "agents.completions": (mistral.agents, {"agent_id": "a", "messages": MESSAGES}),
        "audio.transcriptions": (mistral.audio.transcriptions, {"model": "m", "file_url": "https://a.invalid/a.wav"}),
        "chat.completions": (mistral.chat, {"model": _model(item), "messages": MESSAGES}),
        "embeddings": (mistral.embeddings, {"model": _model(item), "inputs": ["Hi"]}),
        "fim": (mistral.fim, {"model": _model(item), "prompt": "Hi"}),
    }
    resource, arguments = chosen[item["api"]]
    method = "create" if item["api"] == "embeddings" else "stream" if item["streaming"] else "complete"
    return getattr(resource, method + kind)(**arguments)


MISTRAL = [Way("mistralai", "mistralai.client", _make_mistral, cells("mistral/*"), _mistral)]


def _make_cohere(transports: Transports, url: str, asynchronous: bool) -> Any:
    import cohere

    name = "Client" if "_v1" in url else "ClientV2"
    made = getattr(cohere, f"Async{name}" if asynchronous else name)
    return made(api_key="k", base_url=url, httpx_client=transports.of("httpx", asynchronous=asynchronous))


def _cohere(client: Any, item: Item) -> Any:
    interface, _, version = item["api"].partition(".")
    given: dict[str, dict[str, Any]] = {
        "chat": {"message": "Hi"} if version == "v1" else {"messages": MESSAGES},
        "embed": {"texts": ["Hi"], "input_type": "search_query", "embedding_types": ["float"]},
        "generate": {"prompt": "Hi"},
        "rerank": {"query": "Hi", "documents": ["Hi"]},
    }
    method = getattr(client, f"{interface}_stream" if item["streaming"] else interface)
    return method(model=_model(item), **given[interface], request_options={"max_retries": 0})


COHERE = [Way("cohere", "cohere", _make_cohere, cells("cohere/*"), _cohere)]


def _groq(client: Any, item: Item) -> Any:
    return client.chat.completions.create(model=_model(item), messages=MESSAGES, stream=item["streaming"])


GROQ = [
    Way("groq", "groq", _stainless("groq", "Groq", "httpx", api_key="k"), cells("groq/chat.completions"), _groq),
]  # fmt: skip


def _make_ollama(transports: Transports, url: str, asynchronous: bool) -> Any:
    import ollama

    made = ollama.AsyncClient if asynchronous else ollama.Client
    return transports.once(f"{made.__name__} {url}", lambda: made(host=url, verify=False))


def _ollama(client: Any, item: Item) -> Any:
    given: dict[str, Any] = {"prompt": "Hi"} if item["api"] == "generate" else {"messages": MESSAGES}
    return getattr(client, item["api"])(model=_model(item), **given, stream=item["streaming"])


OLLAMA = [Way("ollama", "ollama", _make_ollama, cells("ollama/chat", "ollama/generate"), _ollama)]


def _make_aws(service: str) -> Make:
    def make(transports: Transports, url: str, asynchronous: bool) -> Any:
        import boto3
        from botocore.config import Config

        return transports.once(
            service,
            lambda: boto3.client(
                service,
                endpoint_url=url.rpartition("/")[0],
                config=Config(retries={"total_max_attempts": 1}),
                aws_access_key_id="k",
                aws_secret_access_key="s",
                region_name="us-east-1",
            ),
        )

    return make


def _converse(client: Any, item: Item) -> Any:
    ask = client.converse_stream if item["streaming"] else client.converse
    return ask(modelId=item["id"], messages=[{"role": "user", "content": [{"text": "Hi"}]}])


def _invoke_model(client: Any, item: Item) -> Any:
    ask = client.invoke_model_with_response_stream if item["streaming"] else client.invoke_model
    return ask(modelId=item["id"], body=b"{}")


def _invoked_body(client: Any, item: Item) -> Any:
    return json.loads(client.invoke_model(modelId=item["id"], body=b"{}")["body"].read())


def _endpoint_body(client: Any, item: Item) -> Any:
    return json.loads(client.invoke_endpoint(EndpointName=item["id"], Body=b"{}")["Body"].read())


_bedrock = partial(Way, module="boto3", make=_make_aws("bedrock-runtime"), kinds=(False,))
BEDROCK = [
    _bedrock("boto3 converse", reads=cells("bedrock/converse"), ask=_converse, events=lambda answer: answer["stream"]),
    _bedrock("boto3 invoke_model", reads=cells("bedrock/invoke_model"), ask=_invoke_model,
             events=lambda answer: answer["body"]),
    _bedrock("boto3 invoke_model, parsed body", reads=cells("bedrock/invoke_model", streaming=False),
             ask=_invoked_body),
    Way("boto3 invoke_endpoint, parsed body", "boto3", _make_aws("sagemaker-runtime"),
        cells("sagemaker/invoke_endpoint"), _endpoint_body, kinds=(False,)),
]  # fmt: skip

WAYS = [*OPENAI, *ANTHROPIC, *GOOGLE, *MISTRAL, *COHERE, *GROQ, *OLLAMA, *BEDROCK]
