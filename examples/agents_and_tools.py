"""Which agent eats the tokens? Agents and tools by decorator and by block, and what a guard decides."""

from urllib.request import urlopen

from openai import OpenAI

import llmwatch

page = llmwatch.configure(service_name="agents", port=0)
client = OpenAI()


@llmwatch.observe_llm(feature="research")
def ask(question: str):
    return client.responses.create(model="gpt-4o-mini", input=question)


@llmwatch.observe_tool
def search(topic: str) -> str:
    return ask(f"What is known about {topic}?").output_text  # the tool's calls are those of the agent that uses it


@llmwatch.observe_agent("researcher")
def research(topic: str) -> str:
    found = search(topic) + search(f"the history of {topic}")
    return ask(f"Sum up: {found}").output_text


with llmwatch.observe_agent("planner"):  # of the calls inside, those of the researcher are the researcher's own
    plan = ask("What should we find out about tides?").output_text
    with llmwatch.record_guard("length", stage="output") as guard:
        if len(research(plan)) > 10:
            guard.reject()

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_agent_run", "ai_tool_calls", "ai_guard")) and not line.endswith(" 0.0"):
        print(line)
