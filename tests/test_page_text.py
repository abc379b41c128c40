"""The page's text: byte for byte what prometheus_client's own encoders write, whatever is on it and whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    BucketSpan,
    CounterMetricFamily,
    Exemplar,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    NativeHistogram,
    Sample,
    StateSetMetricFamily,
    SummaryMetricFamily,
    Timestamp,
    UnknownMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from recording import Faults, answering, apart, parsed

import llmwatch
from llmwatch import _runtime, metrics
from llmwatch._instruments import publication_on
from llmwatch.exposition._families import families
from llmwatch.exposition._text import encoded

# The `Accept` headers of Prometheus: scrape/scrape.go, pull requests 4700, 9431, 11542, 14490 and 16061 there.
ACCEPTED = {
    "nobody in particular": "",
    "curl": "*/*",
    "Prometheus 2.0": "text/plain;version=0.0.4;q=1,*/*;q=0.1",
    "Prometheus 2.5": "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Prometheus 2.31": "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Prometheus 2.41": (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    ),
    "Prometheus 2.55, native histograms": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    ),
    **{
        f"Prometheus 3, {escaping}": (
            f"application/openmetrics-text;version=1.0.0;escaping={escaping};q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,"
            f"text/plain;version=1.0.0;escaping={escaping};q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        )
        for escaping in ("allow-utf-8", "underscores", "dots", "values")
    },
    **{
        f"{kind} of Prometheus 3 alone, {escaping}": f"{kind};escaping={escaping};q=0.5,*/*;q=0.1"
        for kind in ("text/plain;version=1.0.0", "application/openmetrics-text;version=2.0.0")
        for escaping in ("allow-utf-8", "underscores", "dots", "values")
    },
}
VALUES = ["", "plain", 'a "quoted" one', "back\\slash", "two\nlines", 'all\\of"it\n', "100 %s %(x)d {} {0}", "naïve 🦙"]
NUMBERS = [0, 1, -1, 999_999, 1_000_000, 10**15, 10**22, -(10**7), 0.0, -0.0, 0.1, 1e-7, 1e6, 123456.7, 1234567.8]
NUMBERS += [1e16, 1.5e300, -2e9, nan, inf, -inf, True]


@dataclass(frozen=True)
class Registry:
    """As much of a registry as an encoder looks at."""

    families: Sequence[Metric]

    def collect(self) -> Sequence[Metric]:
        return self.families


def assert_same(found: Sequence[Metric], accept: str) -> None:
    """Ours is what the encoder writes of these families, or fails as it does."""
    encode, _ = choose_encoder(accept)
    try:
        expected: Any = encode(Registry(found))
    except Exception as error:
        with pytest.raises(type(error)):
            encoded(found, encode)
    else:
        assert encoded(found, encode) == expected


def labelled(family: Any, *arguments: Any) -> Any:
    """The family with a sample for each of the values that a label may have."""
    for value in VALUES:
        family.add_metric([value, value[::-1]], *arguments)
    return family


def metric(name: str, kind: str, *samples: Sample, unit: str = "") -> Metric:
    """A family of samples that no method would add."""
    made = Metric(name, 'a "quoted" text, of two\nlines \\ and 🦙', kind, unit)
    made.samples = list(samples)
    return made


NATIVE = NativeHistogram(4, 6, 2, 0.001, 0, [BucketSpan(0, 2)], None, [2, -1], None)
EXEMPLAR = Exemplar({"trace_id": 'a"b\\'}, 0.5, 1700000000.5)
BUCKETS = [("0.1", 1), ("10.0", 2), ("+Inf", 3.0)]
TWO = ("zone", "area")
FAMILIES: dict[str, Metric] = {
    "no samples": GaugeMetricFamily("empty", "nothing"),
    "counter": labelled(CounterMetricFamily("calls", "calls", labels=TWO), 3),
    "counter without labels": CounterMetricFamily("calls_total", "calls", 3),
    "counter with a unit": CounterMetricFamily("waited", "waiting", 1.5, unit="seconds"),
    "counter with its beginning": labelled(CounterMetricFamily("calls", "calls", labels=TWO), 3, 1700000000.25),
    "counter with an exemplar": CounterMetricFamily("calls", "calls", 3, exemplar=EXEMPLAR),
    "gauge": labelled(GaugeMetricFamily("depth", "depth", labels=TWO), 0.25),
    "gauge with a time": labelled(GaugeMetricFamily("depth", "depth", labels=TWO), 0.25, 1700000000.5),
    "gauge at the beginning of time": labelled(GaugeMetricFamily("depth", "depth", labels=TWO), 0.25, 0),
    "gauge with a time in nanoseconds": labelled(GaugeMetricFamily("d", "d", labels=TWO), 1, Timestamp(17, 5)),
    "histogram": labelled(HistogramMetricFamily("took", "took", labels=TWO, unit="seconds"), BUCKETS, 12.5),
    "histogram without a sum": labelled(HistogramMetricFamily("took", "took", labels=TWO), BUCKETS, None),
    "histogram with exemplars": HistogramMetricFamily("took", "took", [("1.0", 1, EXEMPLAR), ("+Inf", 2)], 3),
    "native histogram": metric("took", "histogram", Sample("took", {"a": "b"}, 0, None, None, NATIVE)),
    "gauge histogram": labelled(GaugeHistogramMetricFamily("sizes", "sizes", labels=TWO), BUCKETS, 12.5),
    "info": InfoMetricFamily("build", "build", {"version": '1"', "commit": "\\"}),
    "state set": StateSetMetricFamily("state", "state", {"a": True, "b": False}),
    "unknown": labelled(UnknownMetricFamily("thing", "thing", labels=TWO), 7),
    "summary": labelled(SummaryMetricFamily("took", "took", labels=TWO), 3, 4.5),
    "numbers": metric("n", "gauge", *(Sample("n", {"i": str(n)}, value) for n, value in enumerate(NUMBERS))),
    "labels of different samples": metric(
        "n", "gauge", Sample("n", {"b": "1", "a": "2"}, 1), Sample("n", {"a": "2", "b": "1"}, 1), Sample("n", {}, 1)
    ),
    "a sample of another name": metric("n", "gauge", Sample("m_sum", {"b": "1"}, 1), Sample("n_total", {}, 2)),
    "samples out of order": metric("n", "counter", Sample("n_created", {}, 1), Sample("n_total", {}, 2)),
    "a metric's name with dots": GaugeMetricFamily("a.b.c", "dots", 1),
    "a metric's name with colons": GaugeMetricFamily("a:b:c", "colons", 1),
    "a metric's name of two underscores": GaugeMetricFamily("__a", "underscores", 1),
    "a metric's name with a line's end": GaugeMetricFamily("a\n", "end", 1),
    "a metric's name in UTF-8": labelled(GaugeMetricFamily("größe🦙", "UTF-8", labels=TWO), 1),
    "a label with dots": labelled(GaugeMetricFamily("n", "dots", labels=("a.b", "c")), 1),
    "a label with a line's end": labelled(GaugeMetricFamily("n", "end", labels=("a\n", "c")), 1),
    "a label of two underscores": labelled(GaugeMetricFamily("n", "underscores", labels=("__name__", "c")), 1),
    "a label with a digit first": labelled(GaugeMetricFamily("n", "digits", labels=("1a", "c")), 1),
    "an empty label": labelled(GaugeMetricFamily("n", "empty", labels=("", "c")), 1),
    "a label in UTF-8": labelled(GaugeMetricFamily("n", "UTF-8", labels=("größe🦙", "c")), 1),
    "a value that is no text": metric("n", "gauge", Sample("n", {"a": 5}, 1)),  # type: ignore[dict-item]
    "a value that UTF-8 cannot hold": metric("n", "gauge", Sample("n", {"a": "\ud800"}, 1)),
    "a number that is none": metric("n", "gauge", Sample("n", {}, None)),  # type: ignore[arg-type]
    "a number in a text": metric("n", "gauge", Sample("n", {}, "seven")),  # type: ignore[arg-type]
    "a number beyond all": metric("n", "gauge", Sample("n", {}, 10**400)),
}


@pytest.mark.parametrize("accept", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_written_as_the_encoder_writes_it(family: Metric, accept: str) -> None:
    assert_same([family], accept)


@pytest.mark.parametrize("accept", ACCEPTED.values(), ids=ACCEPTED)
def test_many_families_are_written_as_the_encoder_writes_them(accept: str) -> None:
    assert_same([], accept)
    assert_same([family for name, family in FAMILIES.items() if not name.startswith(("a value", "a number"))], accept)


NAMES = st.one_of(st.from_regex(r"[a-z_:]{1,4}", fullmatch=True), st.text("aZ_:.9%é\n🦙", min_size=1, max_size=5))
TEXTS = st.one_of(st.sampled_from(VALUES), st.text(max_size=6))
SAMPLES = st.tuples(
    st.sampled_from(["", "", "_total", "_bucket", "_sum", "_count", "_info", "_created", "_gsum", "_gcount", "_x"]),
    st.dictionaries(NAMES, TEXTS, max_size=4),
    st.one_of(st.integers(), st.floats()),
    st.one_of(st.none(), st.none(), st.none(), st.floats(0, 1e9)),
    st.one_of(st.none(), st.none(), st.none(), st.just(EXEMPLAR)),
)


@st.composite
def a_family(draw: Callable[..., Any]) -> Metric:
    name, kind = draw(NAMES), draw(st.sampled_from(["counter", "gauge", "histogram", "info", "unknown", "stateset"]))
    family = Metric(name, draw(TEXTS), kind, draw(st.sampled_from(["", "", "seconds"])))
    samples = draw(st.lists(SAMPLES, max_size=4))
    family.samples = [Sample(family.name + suffix, *rest) for suffix, *rest in samples]
    return family


@given(st.lists(a_family(), max_size=3), st.sampled_from(sorted(ACCEPTED)))
def test_whatever_is_on_the_page_is_written_as_the_encoder_writes_it(found: list[Metric], who: str) -> None:
    assert_same(found, ACCEPTED[who])


# --- The page of a program


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "LLMWATCH_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with apart() as faults:
        yield faults


SEEN_APART = (metrics.PRICE_TABLE_AGE, metrics.INTERNAL_ERRORS)  # another each time, and none


def busy(number: int = 40) -> Any:
    """The page of a program that has recorded all metrics, of many features with unusual names."""
    llmwatch.configure(service_name='a "shop"', labels={"tier": ["free", "pro"]}, semconv="both")
    for n in range(number):
        answering(feature=f"{VALUES[n % len(VALUES)]}-{n}", provider="openai", tier="pro" if n % 3 else None)()
    recorder = _runtime.installed().recorder
    for one in metrics.CATALOGUE:
        labels = {name: f"{name} {n}" for n, name in enumerate(one.labels) if n % 4}
        recorder.measured(labels, (one, 3))
        recorder.measured({}, (one, 4))
    return _runtime.installed().page


@pytest.mark.parametrize("accept", ACCEPTED.values(), ids=ACCEPTED)
def test_a_page_of_many_labels_is_written_as_the_encoder_writes_it(faults: Faults, accept: str) -> None:
    found = list(busy().registry.collect())

    assert sum(len(family.samples) for family in found) > 1000
    assert_same(found, accept)


@pytest.mark.parametrize(
    "accept", [ACCEPTED["curl"], ACCEPTED["Prometheus 2.41"], ACCEPTED["Prometheus 3, allow-utf-8"]]
)
def test_the_encoder_is_spared_every_sample_of_the_page(faults: Faults, accept: str) -> None:
    encode, _ = choose_encoder(accept)
    given: list[Metric] = []

    def watched(registry: CollectorRegistry) -> bytes:
        given.extend(registry.collect())
        return encode(registry)

    found = list(busy().registry.collect())
    encoded(found, watched)
    seen = {family.name: len(family.samples) for family in given}

    assert {family.name: seen[family.name] for family in found} == dict.fromkeys((each.name for each in found), 0)


def test_our_metrics_are_on_the_page_as_the_exporter_would_show_them(faults: Faults) -> None:
    page = busy()
    snapshot = publication_on(_runtime.installed().provider).snapshot(page.reader)
    assert snapshot is not None
    shown = {family.name: family for family in page.reader.families(page.reader.taken())}
    found = {family.name: family for family in families(snapshot)}
    ages = [each.pop(metrics.PRICE_TABLE_AGE.prometheus).samples[0] for each in (shown, found)]

    assert found.keys() == {one.prometheus.removesuffix("_total") for one in metrics.CATALOGUE if one not in SEEN_APART}
    assert found == shown
    assert ages[0].labels == ages[1].labels


def test_what_somebody_else_counts_on_our_provider_is_on_the_page_beside_ours(faults: Faults) -> None:
    llmwatch.configure()
    answering(feature="chat", provider="openai")()
    before = parsed(_runtime.installed().page.render()[0].decode())
    _runtime.installed().provider.get_meter("the SDK itself").create_counter("theirs").add(3)
    after = parsed(_runtime.installed().page.render()[0].decode())

    assert before.total("ai_requests", feature="chat", status="success") == 1
    assert after.total("ai_requests", feature="chat", status="success") == 1
    assert after.total("theirs_total") == 3


def test_a_page_that_is_closed_shows_where_it_is_from_and_nothing_else(faults: Faults) -> None:
    page = busy(1)
    page.close()

    assert [family.name for family in page.registry.collect()] == ["target"]
