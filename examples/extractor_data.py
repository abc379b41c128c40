"""Responses of your own: an extractor is data, the place of each count; for a class, or for one function."""

from urllib.request import urlopen

import llmwatch

PLACES = {"model": "engine", "input_tokens": "used.prompt", "output_tokens": "used.answer", "finish_reason": "ended"}
llmwatch.register_extractor("acme_sdk.Completion")(PLACES)  # found by its name, so that nothing need be imported


@llmwatch.observe_llm(feature="greeting", provider="acme", extractor=PLACES)
def greet(name: str):
    return {"text": f"Hello {name}", "engine": "acme-1", "used": {"prompt": 20, "answer": 5}, "ended": "stop"}


page = llmwatch.configure(port=0)
print(greet("Ada")["text"])
for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith("ai_tokens_total") and not line.endswith(" 0.0"):
        print(line)
