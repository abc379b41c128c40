"""A returned stream is timed to its last chunk, sync or async, and stays the stream that the client made."""

import asyncio
from urllib.request import urlopen

from anthropic import Anthropic
from openai import AsyncOpenAI

import llmwatch

page = llmwatch.configure(service_name="streaming", port=0)


@llmwatch.observe_llm(feature="chat")
async def answer(question: str):
    return await AsyncOpenAI().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},  # without it OpenAI reports no tokens, and llmwatch does not guess
    )


@llmwatch.observe_llm(feature="summarise")
def summary(text: str):
    return Anthropic().messages.stream(
        model="claude-haiku-4-5", max_tokens=200, messages=[{"role": "user", "content": f"Summarise: {text}"}]
    )


async def main():
    async for chunk in await answer("Why is the sky blue?"):
        print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")


asyncio.run(main())
with summary("It was a bright cold day in April.") as stream:
    print("", *stream.text_stream)
print(*(line for line in urlopen(f"{page.url}/metrics").read().decode().splitlines() if "first_chunk_seconds_c" in line))
