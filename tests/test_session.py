"""session() and flush(): programs that end, or are frozen, before anybody could ask them for their numbers."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Iterator

import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from receivers import otlp_http, silent, until
from recording import Faults, Kept, answering, apart

import llmwatch


@pytest.fixture(autouse=True)
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in list(os.environ):
        if variable.startswith(("OTEL_", "LLMWATCH_")):
            monkeypatch.delenv(variable)
    with apart() as faults:
        yield faults


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("llmwatch-")}


def test_a_session_configures_and_sends_everything_at_its_end() -> None:
    with otlp_http() as receiver:
        with llmwatch.session(service_name="import", otlp=receiver.url) as configuration:
            answering(feature="chat")()

            assert configuration.port == 0
            assert receiver.requests == []
        assert receiver.total("ai_requests", status="success") == 1
        assert receiver.resource("service.name") == {"import"}
    until(lambda: not ours())


def test_a_session_that_fails_has_sent_everything_and_passes_the_exception_on() -> None:
    with otlp_http() as receiver:
        with pytest.raises(KeyError), llmwatch.session(otlp=receiver.url):
            answering(KeyError("its own"), feature="chat")()

        assert receiver.total("ai_requests", status="error") == 1


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_a_session_may_be_asynchronous_and_leaves_the_event_loop_free_while_it_sends(run) -> None:
    async def main(url: str) -> list[float]:
        sleep = trio.sleep if run is not asyncio.run else asyncio.sleep
        async with llmwatch.session(otlp=url, timeout=0.4):
            answering(feature="chat")()
        await sleep(0)
        return [time.monotonic()]

    with otlp_http() as receiver:
        assert run(main(receiver.url))
        assert receiver.total("ai_requests", status="success") == 1


def test_the_event_loop_turns_while_an_asynchronous_session_waits_for_its_collector() -> None:
    async def main(url: str) -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        async with llmwatch.session(otlp=url, timeout=0.5):
            answering(feature="chat")()
            counting = asyncio.create_task(count())
        counting.cancel()
        return turns

    with silent() as url:
        assert asyncio.run(main(url)) > 5


def test_a_session_takes_exactly_the_arguments_of_configure() -> None:
    stated = set(llmwatch.config._Arguments.__annotations__)

    assert stated == set(inspect.signature(llmwatch.configure).parameters)


def test_a_session_of_no_use_is_refused_as_configure_does() -> None:
    with pytest.raises(ValueError, match="port"), llmwatch.session(port=70_000):
        pass


def test_a_function_that_is_frozen_after_each_invocation_flushes_each_time() -> None:
    """As AWS Lambda does: nothing runs between two invocations, so no interval would ever pass."""
    with otlp_http() as receiver:
        llmwatch.configure(service_name="lambda", otlp=receiver.url)
        answer = answering(feature="chat")

        def handler() -> None:
            try:
                answer()
            finally:
                assert llmwatch.flush(timeout=10)

        for invocation in range(1, 4):
            handler()
            assert receiver.total("ai_requests", status="success") == invocation
        llmwatch.shutdown()


def test_flush_flushes_a_provider_of_the_program_s_own_too() -> None:
    exporter = Kept()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    llmwatch.configure(meter_provider=provider)
    answering(feature="chat")()

    assert llmwatch.flush()
    assert exporter.exports[-1].total("ai_requests", status="success") == 1
    provider.shutdown()


def test_flush_survives_a_provider_that_fails_or_hangs() -> None:
    class Failing(MeterProvider):
        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            raise RuntimeError("no")

    class Hanging(MeterProvider):
        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            threading.Event().wait(3)
            return True

    for provider in (Failing(shutdown_on_exit=False), Hanging(shutdown_on_exit=False)):
        llmwatch.configure(meter_provider=provider)

        assert llmwatch.flush(0.1) is False


def test_flush_with_nothing_to_send_to_is_true_and_before_any_configuration_too() -> None:
    assert llmwatch.flush() is True
    llmwatch.configure()
    assert llmwatch.flush() is True
    llmwatch.shutdown()
    assert llmwatch.flush() is True
