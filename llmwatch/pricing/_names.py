"""Names: the providers and models that a provider's and a model's name may stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[str | None, str]

LONGEST_NAME = 256

# Provider names, and the id that genai-prices has for the provider; `.`, `_` and blanks are written as `-`. The first
# column holds what OpenTelemetry (`gen_ai.provider.name`, and the older `gen_ai.system`), LiteLLM, LangChain and
# pydantic-ai write. Ids of genai-prices stand for themselves.
_ALIASES = {
    alias: provider
    for provider, aliases in {
        "anthropic": "claude",
        "aws": "aws-bedrock bedrock bedrock-converse amazon-bedrock amazon sagemaker-bedrock bedrock-mantle",
        "azure": "azure-ai-openai azure-ai-inference az-ai-openai az-ai-inference azure-openai azure-ai azure-text "
        "azure-ai-foundry microsoft-foundry azureml",
        "cerebras": "cerebras-ai",
        "cloudflare": "cloudflare-workers-ai workers-ai @cf",
        "cohere": "cohere-chat cohere-v2 cohere-ai",
        "databricks": "databricks-model-serving",
        "deepseek": "deepseek-ai",
        "fireworks": "fireworks-ai",
        "github-copilot": "copilot",
        "google": "gcp-gen-ai gcp-vertex-ai gcp-gemini vertex vertex-ai vertexai vertex-ai-beta gemini google-genai "
        "google-vertexai google-vertex google-gla google-generative-ai google-anthropic-vertex google-cloud",
        "groq": "groq-ai",
        "minimax": "minimaxai",
        "mistral": "mistral-ai mistralai codestral",
        "moonshotai": "moonshot-ai moonshot",
        "novita": "novita-ai",
        "openai": "openai-chat openai-responses text-completion-openai openai-codex",
        "openrouter": "open-router",
        "ovhcloud": "ovh",
        "perplexity": "perplexity-ai pplx",
        "together": "together-ai togetherai",
        "voyageai": "voyage voyage-ai",
        "x-ai": "xai x-ai-grok grok",
        "zai": "z-ai",
    }.items()
    for alias in aliases.split()
}

_KNOWN = frozenset(_ALIASES.values())

# Gateways, and the client library that all gateways are called with: the prefix of a model's name is the provider.
_GATEWAYS = frozenset({None, "litellm", "litellm-proxy", "openai"})
# Prefixes that are organisations on the Hugging Face hub too: such a model may just as well run at home.
_HUB_NAMES = frozenset({"mistralai", "moonshotai", "databricks", "deepseek-ai", "minimaxai", "perplexity-ai"})

_BEDROCK = re.compile(
    r"(?:[a-z-]+\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|minimax|mistral|moonshot|nvidia|openai|qwen|writer|zai)"
    r"\.[a-z]|arn:aws[a-z-]*:bedrock:"
)
_BEDROCK_REGION = re.compile(r"(?:us|eu|apac|global|jp|au|ca|sa|in|kr|uk|me|af)\.(?=[a-z0-9]+\.)")
_RESOURCE = re.compile(r"(?:.*/)?models/(?=[^/]+$)")
_DATE = re.compile(r"[-@]20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])(?=$|-v\d)")


def provider_id(name: str) -> str:
    """The id of genai-prices for a provider's name; a name that is not known stands for itself."""
    written = re.sub(r"[._\s]", "-", name.strip().lower())
    return _ALIASES.get(written, written)


def meanings(provider: str | None, model: str) -> Iterator[Pair]:
    """What the names may mean, as `(provider id, model)`, the likeliest first.

    A provider that is named in front of the model (`azure/gpt-4o`) is believed when no other is stated, and when the
    stated one is known to pass on other providers' models. Without any provider, the pair has `None` for it.
    """
    stated = provider_id(provider) if provider else None
    model = model.strip().lower()
    prefix, slash, rest = model.partition("/")
    named = provider_id(prefix)
    if stated is None and _BEDROCK.match(model):
        stated = "aws"
    follows = bool(slash and rest) and (
        named == stated or (stated in _GATEWAYS and prefix not in _HUB_NAMES and named != stated)
    )
    if follows and stated is None:
        yield from meanings(named, rest)
        if named in _KNOWN:
            return
    yield stated, model
    if follows and stated is not None:
        yield from meanings(named, rest)
    yield from ((stated, form) for form in _forms(stated, model))


def undated(model: str) -> str:
    """The model's name without the date of its version: `gpt-4o` for `gpt-4o-2024-08-06`."""
    return _DATE.sub("", model)


def _forms(provider: str | None, model: str) -> Iterator[str]:
    """Other spellings of a model's name: without the path of the resource, without the region of the endpoint."""
    if _RESOURCE.match(model):
        yield _RESOURCE.sub("", model)
    if provider == "aws":
        bare = model.rpartition("/")[2]
        yield bare
        yield _BEDROCK_REGION.sub("", bare)
