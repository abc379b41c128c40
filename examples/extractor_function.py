"""Responses of your own: an extractor is a function of the response."""

from dataclasses import dataclass
from urllib.request import urlopen

import llmwatch


@dataclass
class Reply:
    text: str
    tokens_in: int
    tokens_out: int


@llmwatch.register_extractor(Reply)  # or the class's name, "my_package.Reply", or a predicate
def read_reply(reply: Reply) -> llmwatch.Usage:
    return llmwatch.Usage(input_tokens=reply.tokens_in, output_tokens=reply.tokens_out)


@llmwatch.observe_llm(feature="greeting", provider="in-house", model="parrot-1")
def greet(name: str) -> Reply:
    return Reply(f"Hello {name}", tokens_in=12, tokens_out=3)


page = llmwatch.configure(port=0)
print(greet("Ada").text)
with llmwatch.track_request(feature="by-hand", provider="in-house", model="parrot-1") as request:
    request.record(input_tokens=812, output_tokens=64)  # where there is no response to read
for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith("ai_tokens_total") and not line.endswith(" 0.0"):
        print(line)
