"""Anthropic: what the prompt cache reads, writes and saves, with the sync and the async client."""

import asyncio
from urllib.request import urlopen

from anthropic import Anthropic, AsyncAnthropic

import llmwatch

page = llmwatch.configure(service_name="anthropic-example", port=0)
HANDBOOK = "You answer questions about our products. " * 200  # long enough to be cached
SYSTEM = [{"type": "text", "text": HANDBOOK, "cache_control": {"type": "ephemeral"}}]


def prompt(question: str):
    messages = [{"role": "user", "content": question}]
    return {"model": "claude-haiku-4-5", "max_tokens": 300, "system": SYSTEM, "messages": messages}


@llmwatch.observe_llm(feature="support")
def answer(question: str):
    return Anthropic().messages.create(**prompt(question))


@llmwatch.observe_llm(feature="support")
async def answer_later(question: str):
    return await AsyncAnthropic().messages.create(**prompt(question))


print(answer("Does it float?").content[0].text)
print(asyncio.run(answer_later("Is it blue?")).content[0].text)

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_tokens_total", "ai_cost", "ai_cache_savings")) and not line.endswith(" 0.0"):
        print(line)
