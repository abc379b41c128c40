"""LangChain: a chain is observed as a whole, invoked or streamed, and its client's attempts are watched."""

from urllib.request import urlopen

from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

import llmwatch

page = llmwatch.configure(service_name="langchain-example", port=0)
prompt = ChatPromptTemplate.from_messages([("system", "Answer in the tone of a {voice}."), ("user", "{question}")])
model = llmwatch.watch(ChatOpenAI(model="gpt-4o-mini", stream_usage=True))  # else a stream reports no tokens
chain = prompt | model


@llmwatch.observe_llm(feature="chat", agent="pirate")
def answer(question: str):
    return chain.invoke({"voice": "pirate", "question": question})


@llmwatch.observe_llm(feature="chat", agent="poet")
def recite(question: str):
    return chain.stream({"voice": "poet", "question": question})


print(answer("Why is the sky blue?").text)
print(*(chunk.text for chunk in recite("Why is the sea?")), sep="")

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_requests_total", "ai_tokens_total", "ai_attempts_total")) and not line.endswith(" 0.0"):
        print(line)
