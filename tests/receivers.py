"""Real receivers on loopback: OTLP over HTTP and gRPC, a Pushgateway, and collectors that misbehave."""

from __future__ import annotations

import gzip
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as messages
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as services
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from recording import Collected, Point
from support import require

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


@dataclass
class Received:
    """What came to a receiver, request by request.

    Attributes:
        requests: The messages, as the generated classes of the protocol read them.
        headers: Their headers, or metadata.
        fault: The status that is answered in place of success, while it is set.
    """

    url: str = ""
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    fault: int | None = None
    refused: int = 0

    def resource(self, name: str) -> set[str]:
        """All values of an attribute of the resources."""
        return {
            attribute.value.string_value
            for request in self.requests
            for resource in request.resource_metrics
            for attribute in resource.resource.attributes
            if attribute.key == name
        }

    def total(self, name: str, **labels: str) -> float:
        """A metric's total: the last value of each series, or the sum of all where they come as deltas."""
        return self._sum(name, labels, lambda point: point.value)

    def count(self, name: str, **labels: str) -> float:
        """A histogram's number of values."""
        return self._sum(name, labels, lambda point: float(point.count or 0))

    def points(self) -> list[Point]:
        """All points, as they came."""
        return [point for request in self.requests for _, point in _points(request)]

    def last(self) -> Collected:
        """What the last request brought."""
        return Collected(point for _, point in _points(self.requests[-1]))

    def _sum(self, name: str, labels: dict[str, str], amount: Callable[[Point], float]) -> float:
        series: dict[frozenset[tuple[str, str]], float] = {}
        for request in self.requests:
            for temporality, point in _points(request):
                if point.name == name and labels.items() <= point.labels.items():
                    key = frozenset(point.labels.items())
                    before = series.get(key, 0.0) if temporality == DELTA else 0.0
                    series[key] = before + amount(point)
        return sum(series.values())

    def temporalities(self, name: str) -> set[int]:
        return {
            temporality for request in self.requests for temporality, point in _points(request) if point.name == name
        }


def _points(request: Any) -> Iterator[tuple[int, Point]]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                temporality = getattr(data, "aggregation_temporality", 0)
                for point in data.data_points:
                    labels = {attribute.key: attribute.value.string_value for attribute in point.attributes}
                    if hasattr(point, "bucket_counts"):
                        found = Point(metric.name, labels, point.sum, point.count)
                    else:
                        found = Point(metric.name, labels, point.as_double + point.as_int)
                    yield temporality, found


@contextmanager
def otlp_http(port: int = 0) -> Iterator[Received]:
    """A receiver that speaks OTLP over HTTP, as the specification has it."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if received.fault is not None:
                received.refused += 1
                self.send_response(received.fault)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            assert self.path == "/v1/metrics"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.requests.append(messages.ExportMetricsServiceRequest.FromString(body))
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = messages.ExportMetricsServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        yield received
        server.shutdown()
        thread.join()


@contextmanager
def otlp_grpc() -> Iterator[Received]:
    """A receiver that speaks OTLP over gRPC, with the service that is generated from the protocol."""
    received = Received()

    class Service(services.MetricsServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
            if received.fault is not None:
                received.refused += 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "away")
            received.requests.append(request)
            received.headers.append(dict(context.invocation_metadata()))
            return messages.ExportMetricsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    services.add_MetricsServiceServicer_to_server(Service(), server)
    received.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield received
    server.stop(None).wait()


@contextmanager
def silent() -> Iterator[str]:
    """A collector that accepts connections and never answers; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def refusing() -> str:
    """The URL of a port where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(condition: Callable[[], object], what: str = "it", patience: float = 30.0) -> None:
    """Waits for something that another thread or process does."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


@contextmanager
def pushgateway() -> Iterator[str]:
    """A real Pushgateway; its `host:port`."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        require("prometheus-pushgateway"),
        f"--web.listen-address={address}",
        "--persistence.file=",
        "--log.level=error",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(f"http://{address}/-/ready"), "the Pushgateway")
            yield address
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
