"""Prices of your own, in prices.toml: a discount on the price table, and a model that no table knows."""

from pathlib import Path
from urllib.request import urlopen

from openai import OpenAI

import llmwatch

page = llmwatch.configure(service_name="prices", prices=Path(__file__).with_name("prices.toml"), port=0)
client = OpenAI()


@llmwatch.observe_llm(feature="chat")
def answer(question: str, model: str):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])


answer("Why is the sky blue?", "gpt-4o-mini")  # 15 % less than the table says
answer("Why is the sky blue?", "in-house-7b")  # $0.20 and $0.80 for a million tokens
answer("Why is the sky blue?", "nobody-knows")  # unpriced, which is not free

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_cost_dollars_total", "ai_unpriced_requests_total")) and not line.endswith(" 0.0"):
        print(line)
