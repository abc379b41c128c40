"""Metrics over OTLP, beside the page. Needs OPENAI_API_KEY, or OPENAI_BASE_URL for a stand-in."""

from openai import OpenAI
from openai.types.chat import ChatCompletion

import llmwatch

# Without an address OpenTelemetry's variables say where: OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318.
# They also say how (OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS, _METRICS_TEMPORALITY_PREFERENCE) and how often
# (OTEL_METRIC_EXPORT_INTERVAL). A collector that is away costs a line in the log, and nothing else.
llmwatch.configure(service_name="otlp-example", otlp=True, port=0)
client = OpenAI()


@llmwatch.observe_llm(feature="greeting")
def greet(name: str) -> ChatCompletion:
    question = f"Say hello to {name}."
    return client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])


print(greet("Ada").choices[0].message.content)
print("sent:", llmwatch.flush())  # at the end of the program it would be sent anyway
