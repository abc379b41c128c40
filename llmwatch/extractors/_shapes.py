"""All shapes, in the order in which they are asked, and the providers behind the vendors' client libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmwatch.extractors import aleph_alpha, bedrock_text, huggingface, ollama, replicate, voyage, watsonx
from llmwatch.extractors.anthropic import Completions, Messages
from llmwatch.extractors.bedrock import Converse, InvokeModel
from llmwatch.extractors.cohere import CohereChat, CohereEmbeddings
from llmwatch.extractors.frameworks import LangChain, LiteLLM, LlamaIndex, OpenAIAgents, PydanticAI
from llmwatch.extractors.google import GenerateContent, GoogleEmbeddings, Live
from llmwatch.extractors.google_interactions import Interactions
from llmwatch.extractors.openai import ChatCompletions, Embeddings
from llmwatch.extractors.openai_realtime import Realtime
from llmwatch.extractors.openai_responses import Responses
from llmwatch.extractors.openai_threads import Runs
from llmwatch.extractors.transcriptions import Transcriptions

if TYPE_CHECKING:
    from llmwatch.extractors._reading import Shape

# The telling ones first: a shape stands before those that it could be taken for.
_VENDORS_OWN: tuple[Shape, ...] = (
    bedrock_text.TITAN,
    bedrock_text.TITAN_EMBEDDINGS,
    bedrock_text.LLAMA,
    bedrock_text.MISTRAL,
    bedrock_text.JURASSIC,
    voyage.EMBEDDINGS,
    ollama.CHAT,
    ollama.EMBED,
    watsonx.GENERATION,
    replicate.PREDICTIONS,
    huggingface.TEXT_GENERATION,
    aleph_alpha.COMPLETIONS,
    Messages(),
    Completions(),
    Converse(),
    InvokeModel(),
    CohereChat(),
    CohereEmbeddings(),
    Interactions(),
    GenerateContent(),
    GoogleEmbeddings(),
    Live(),
    Realtime(),
    Responses(),
    Runs(),
    Transcriptions(),
    ChatCompletions(),
    Embeddings(),
)

SHAPES: tuple[Shape, ...] = (
    LiteLLM(_VENDORS_OWN),
    LlamaIndex(_VENDORS_OWN),
    LangChain(),
    PydanticAI(),
    OpenAIAgents(),
    *_VENDORS_OWN,
)

VENDORS = {
    "anthropic": "anthropic",
    "botocore": "aws.bedrock",
    "cohere": "cohere",
    "google.genai": "gcp.gemini",
    "groq": "groq",
    "huggingface_hub": "huggingface",
    "ibm_watsonx_ai": "ibm.watsonx.ai",
    "mistralai": "mistral_ai",
    "ollama": "ollama",
    "openai": "openai",
    "replicate": "replicate",
    "voyageai": "voyage",
}
"""OpenTelemetry's `gen_ai.provider.name` by the package, or package of a namespace, that a class is defined in."""
