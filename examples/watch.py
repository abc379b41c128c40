"""What the client hides: the attempts behind a call, the waits between them, and how near a rate limit is."""

from urllib.request import urlopen

from openai import OpenAI

import llmwatch

page = llmwatch.configure(service_name="watched", port=0)
client = llmwatch.watch(OpenAI(), account="team-a")  # the same client; the account is an alias, never a key


@llmwatch.observe_llm(feature="chat")
def answer(question: str):
    return client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])


print(answer("Why is the sky blue?").choices[0].message.content)

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_requests_total", "ai_attempts", "ai_retry", "ai_rate_limit")) and not line.endswith(" 0.0"):
        print(line)
