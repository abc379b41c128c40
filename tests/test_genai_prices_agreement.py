"""An independent reader, genai-prices' own `extract_usage`, agrees on every recorded response that it can read."""

from __future__ import annotations

from typing import Any

import pytest
from corpus_rules import (
    Counts,
    Item,
    counts_of,
    expected_counts,
    is_read,
    items,
    params,
    payloads,
    require_corpus,
    unstreamed,
)
from genai_prices.data import providers

from llmwatch import extractors

THEIR_PROVIDERS = {
    "bedrock": "aws",
    "copilot": "github-copilot",
    "gemini": "google",
    "gemini_openai_compat": "google",
    "huggingface": "huggingface_together",
    "vertex": "google",
    "xai": "x-ai",
}
# The flavour that genai-prices has for each interface; providers (or their interfaces) that it
# does not know are read as OpenAI's.
THEIR_FLAVOURS = {
    "anthropic": {"messages": "default"},
    "aws": {"converse": "default", "invoke_model": "default"},
    "azure": {"completions": "chat"},
    "cohere": {"chat.v2": "tokens", "embed.v2": "embeddings"},
    "google": {
        "chat.completions": "chat",
        "embeddings": "default",
        "generateContent": "default",
        "live": "default",
        "messages": "anthropic",
    },
    "groq": {"chat.completions": "default"},
    "huggingface_together": {"chat.completions": "chat", "completions": "chat"},
    "mistral": dict.fromkeys(
        ("agents.completions", "audio.transcriptions", "chat.completions", "embeddings", "fim"), "default"
    ),
    "openrouter": {"audio.transcriptions": "default", "responses": "default"},
    "perplexity": {"chat.completions": "default"},
}
OPENAI_FLAVOURS = {
    "audio.transcriptions": "responses",
    "chat": "chat",
    "chat.completions": "chat",
    "completions": "chat",
    "embeddings": "embeddings",
    "realtime": "realtime",
    "responses": "responses",
    "responses.compact": "responses",
    "threads.runs": "chat",
}
# Their counts that are not ours, and who is right.
DISAGREEMENTS: dict[str, tuple[dict[str, int], str]] = {
    "bedrock-invoke_model-stream-48f64d9f": (
        {"input": 6, "cache_write": 0},
        "we: Nova's own body spells the cache counts `...TokenCount`, they know Converse's `...Tokens` only",
    ),
    "cohere-chat_v2-json-45548c34": (
        {"reasoning": 0},
        "we: they do not map Cohere's `tokens.reasoning_tokens` (58), which is inside the output that both read",
    ),
    "gemini-live-stream-adeecc62": (
        {"output": 46, "audio_output": 0},
        "we: Live writes `responseTokenCount` (61, all audio) where they look for `candidatesTokenCount`",
    ),
    "gemini_openai_compat-chat_completions-json-74270329": (
        {"output": 6, "reasoning": 0},
        "we: the body's total is 100, prompt and completion are 72; the 28 between them are thoughts, billed as output",
    ),
    "mistral-audio_transcriptions-json-0e573bc4": (
        {"input": 5, "audio_input": 0},
        "we: 375 audio tokens stand beside `prompt_tokens`, the body's total is 400 = 5 + 375 + 20",
    ),
    "mistral-chat_completions-json-7aa8a072": (
        {"input": 11, "audio_input": 0},
        "we: 375 audio tokens stand beside `prompt_tokens`, the body's total is 401 = 11 + 375 + 15",
    ),
    "openai-audio_transcriptions-json-478f1049": (
        {"audio_input": 0},
        "we: they have no flavour for transcriptions, whose details are spelled `input_token_details`",
    ),
    "openai-audio_transcriptions-stream-21776485": (
        {"audio_input": 0},
        "we: they have no flavour for transcriptions, whose details are spelled `input_token_details`",
    ),
    "openai-realtime-stream-8ace89db": (
        {"reasoning": 0},
        "we: their realtime flavour does not map `output_token_details.reasoning_tokens` (17)",
    ),
    "openrouter-chat_completions-stream-25022940": (
        {"reasoning": 11},
        "both: the body says 11 reasoning tokens within 10; they repeat it, we cut the part and name the anomaly",
    ),
}

_providers = {provider.id: provider for provider in providers}


def their_reading(item: Item) -> Counts | None:
    """What genai-prices reads; `None` where it has no way to read the body, or finds nothing in it."""
    name = str(THEIR_PROVIDERS.get(item["provider"], item["provider"]))
    flavour = {**OPENAI_FLAVOURS, **THEIR_FLAVOURS.get(name, {})}.get(item["api"])
    if name == "aws" and "anthropic." in (item["request_model"] or "") and item["api"] == "invoke_model":
        flavour = "anthropic"
    provider = _providers.get(name)
    if provider is None or flavour not in [extractor.api_flavor for extractor in provider.extractors or ()]:
        provider = _providers["openai"]
    try:
        usages = [provider.extract_usage(body, api_flavor=flavour or "default")[1] for body in bodies(item)]
    except ValueError:
        return None
    return summed(usages) if usages else None


def bodies(item: Item) -> list[Any]:
    """What there is to read: the body, or each report of a session."""
    if not item["streaming"]:
        return [item["body"]]
    events = list(payloads(item))
    body = unstreamed(item, events)
    if body is not None:
        return [body]
    return [event for event in events if event.get("type") == "response.done" or "usageMetadata" in event]


def summed(usages: list[Any]) -> Counts:
    """Their usages in our terms; they write 0 for what is not reported."""
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_reasoning_tokens",
        "input_audio_tokens",
        "output_audio_tokens",
    )
    return Counts(*(sum(getattr(usage, name, None) or 0 for usage in usages) for name in names))


@pytest.fixture(autouse=True)
def _corpus_is_there() -> None:
    require_corpus()


@pytest.mark.parametrize("item", params(lambda item: is_read(item) and their_reading(item) is not None))
def test_genai_prices_reads_the_same_or_is_known_to_be_wrong(item: Item) -> None:
    theirs = their_reading(item)
    reading = extractors.read_stream(payloads(item)) if item["streaming"] else extractors.read(item["body"])
    assert theirs is not None
    assert reading is not None
    assert reading.usage is not None
    ours = counts_of(reading.usage)
    differing = {
        name: theirs_
        for name, ours_, theirs_ in zip(Counts._fields, ours, theirs, strict=True)
        if (ours_ or 0) != theirs_
    }
    assert differing == DISAGREEMENTS.get(item["id"], ({}, ""))[0]


def test_most_responses_with_usage_are_read_by_both() -> None:
    read = [item for item in require_corpus() if is_read(item) and expected_counts(item) != Counts()]
    assert sum(their_reading(item) is not None for item in read) > 0.8 * len(read)


def test_no_listed_disagreement_is_without_an_item() -> None:
    assert DISAGREEMENTS.keys() <= {item["id"] for item in items()}
