"""Streams of your own: an accumulator takes the events one by one, and says at the end what they added up to."""

from urllib.request import urlopen

import llmwatch
from llmwatch.extractors import Reading


def is_piece(event) -> bool:
    return isinstance(event, dict) and "piece" in event


@llmwatch.register_extractor(is_piece)  # asked of a stream's first events; a class or its name would do as well
class Pieces:
    def __init__(self):
        self.tokens = 0

    def add(self, event):
        self.tokens += event["tokens"]

    def reading(self):
        return Reading(provider="acme", model="acme-1", usage=llmwatch.Usage(output_tokens=self.tokens))


@llmwatch.observe_llm(feature="greeting")
def greet(name: str):
    for word in ("Hello", name):
        yield {"piece": word, "tokens": 2}


page = llmwatch.configure(port=0)
print(*(event["piece"] for event in greet("Ada")))
for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith("ai_tokens_total") and not line.endswith(" 0.0"):
        print(line)
