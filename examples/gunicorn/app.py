"""Several workers, one page: whichever worker answers `/metrics` says what all of them have counted.

    pip install llmwatch gunicorn openai
    LLMWATCH_WORKER_DIR=/tmp/shop gunicorn -w 4 app:app          # in this folder
    curl -s localhost:8000/ask; curl -s localhost:8000/metrics | grep ai_requests_total

The same with `--preload`, and with the workers of uvicorn for an ASGI application and `llmwatch.exposition.asgi_app()`.
"""

from functools import cache

import openai

import llmwatch
from llmwatch import observe_llm
from llmwatch.exposition import wsgi_app

llmwatch.configure(service_name="shop")
metrics = wsgi_app()


@cache
def client():
    return openai.OpenAI()  # after the fork: connections cannot be shared between processes


@observe_llm(feature="greeting")
def ask():
    return client().chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello."}])


def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return metrics(environ, start_response)
    answer = ask().choices[0].message.content
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [answer.encode()]
