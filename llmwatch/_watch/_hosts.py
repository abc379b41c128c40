"""Whose API a request goes to, by the name of its host."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

# OpenTelemetry's `gen_ai.provider.name` where it has a value, else the vendor's own name; by the end of the host name.
_DOMAINS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "inference.ai.azure.com": "azure.ai.inference",
    "models.github.ai": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.x.ai": "x_ai",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "openrouter.ai": "openrouter",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "api.sambanova.ai": "sambanova",
    "api.deepinfra.com": "deepinfra",
    "integrate.api.nvidia.com": "nvidia",
    "inference.do-ai.run": "digitalocean",
    "huggingface.co": "huggingface",
    "api.replicate.com": "replicate",
    "api.voyageai.com": "voyage",
    "api.aleph-alpha.com": "aleph_alpha",
    "ollama.com": "ollama",
}
_PATTERNS = (
    (
        re.compile(r"(^|\.)bedrock[a-z-]*\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws|vpce\.amazonaws\.com)$"),
        "aws.bedrock",
    ),
    (re.compile(r"^[a-z0-9-]+-aiplatform\.googleapis\.com$"), "gcp.vertex_ai"),
)


def provider_at(url: Any) -> str:
    """The provider behind a URL, text or an object with a `host`; empty when the host is nobody's that is known."""
    host = urlsplit(url).hostname if isinstance(url, str) else url.host
    return _provider_of(host or "")


@lru_cache(maxsize=256)
def _provider_of(host: str) -> str:
    parts = host.lower().rstrip(".").split(".")
    for start in range(len(parts) - 1):
        provider = _DOMAINS.get(".".join(parts[start:]))
        if provider is not None:
            return provider
    return next((provider for pattern, provider in _PATTERNS if pattern.search(host.lower())), "")
