"""Ten lines from a client call to numbers at /metrics. Needs OPENAI_API_KEY, or OPENAI_BASE_URL for a stand-in."""

from urllib.request import urlopen

from openai import OpenAI

import llmwatch

page = llmwatch.configure(service_name="quickstart", port=0)
client = OpenAI()


@llmwatch.observe_llm(feature="greeting")
def greet(name: str):
    return client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": f"Greet {name} in five words."}]
    )


greet("Ada")
for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_requests_total", "ai_tokens_total", "ai_cost_dollars_total")) and not line.endswith(" 0.0"):
        print(line)
