"""Whose tokens are these? Features on decorators, agents and tiers around them, and threads that take them along."""

from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

from openai import OpenAI

import llmwatch

page = llmwatch.configure(service_name="agents", port=0, labels={"tier": ["free", "pro"]})
client = OpenAI()


@llmwatch.observe_llm(feature="research")
def ask(question: str):
    return client.responses.create(model="gpt-4o-mini", input=question)


with llmwatch.attribute(agent="planner", tier="pro"):
    ask("What should we find out about tides?")
    with llmwatch.attribute(agent="researcher"), ThreadPoolExecutor() as pool:
        list(pool.map(llmwatch.bind(ask), ["Who found the cause?", "How high is the highest tide?"]))

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith("ai_requests_total") and 'status="success"' in line:
        print(line)
