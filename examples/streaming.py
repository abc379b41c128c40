"""A returned stream is timed to its last chunk, sync or async, and stays the stream that the client made."""

import asyncio
from urllib.request import urlopen

from anthropic import Anthropic
from openai import AsyncOpenAI

import llmwatch

page = llmwatch.configure(service_name="streaming", port=0)


@llmwatch.observe_llm(feature="chat")
async def answer(question: str):
    messages = [{"role": "user", "content": question}]
    usage = {"include_usage": True}  # else OpenAI reports no tokens, and llmwatch does not guess
    create = AsyncOpenAI().chat.completions.create
    return await create(model="gpt-4o-mini", messages=messages, stream=True, stream_options=usage)


@llmwatch.observe_llm(feature="summarise")
def summary(text: str):
    messages = [{"role": "user", "content": f"Summarise: {text}"}]
    return Anthropic().messages.stream(model="claude-haiku-4-5", max_tokens=200, messages=messages)


async def main():
    async for chunk in await answer("Why is the sky blue?"):
        print(*(choice.delta.content for choice in chunk.choices if choice.delta.content), end="")


asyncio.run(main())
with summary("It was a bright cold day in April.") as stream:
    print("", *stream.text_stream)
print(
    *(line for line in urlopen(f"{page.url}/metrics").read().decode().splitlines() if "first_chunk_seconds_c" in line)
)
