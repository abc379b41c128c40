"""OpenAI: chat completions, responses and embeddings by one client, and a call that OpenAI refuses."""

from urllib.request import urlopen

import openai

import llmwatch

page = llmwatch.configure(service_name="openai-example", port=0)
client = openai.OpenAI()


@llmwatch.observe_llm(feature="chat", model="gpt-4o-mini")  # until a response names the version that answered
def answer(question: str, **options: int):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages, **options)


@llmwatch.observe_llm(feature="triage")
def triage(ticket: str):
    return client.responses.create(model="gpt-4o-mini", instructions="One word: which team?", input=ticket)


@llmwatch.observe_llm(feature="search", operation="embeddings")
def embed(texts: list[str]):
    return client.embeddings.create(model="text-embedding-3-small", input=texts)


print(answer("Why is the sky blue?").choices[0].message.content)
print(triage("I was charged twice.").output_text)
print(len(embed(["first", "second"]).data), "vectors")
try:
    answer("Why?", max_completion_tokens=10**9)
except openai.BadRequestError as error:
    print("refused:", error.status_code)

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_requests_total", "ai_tokens_total", "ai_cost", "ai_errors")) and line[-4:] != " 0.0":
        print(line)
