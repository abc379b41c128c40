"""Gemini: an answer and a stream of google-genai, thoughts counted as reasoning. Needs GEMINI_API_KEY."""

from urllib.request import urlopen

from google import genai

import llmwatch

page = llmwatch.configure(service_name="gemini-example", port=0)
client = genai.Client()


@llmwatch.observe_llm(feature="chat")
def answer(question: str):
    return client.models.generate_content(model="gemini-2.5-flash", contents=question)


@llmwatch.observe_llm(feature="story")
def story(subject: str):
    return client.models.generate_content_stream(model="gemini-2.5-flash", contents=f"Tell of {subject}.")


print(answer("Why is the sky blue?").text)
print(*(chunk.text for chunk in story("a lighthouse")))

for line in urlopen(f"{page.url}/metrics").read().decode().splitlines():
    if line.startswith(("ai_tokens_total", "ai_cost", "ai_time_to_first_chunk_seconds_c")) and line[-4:] != " 0.0":
        print(line)
