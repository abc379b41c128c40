"""Options: what an operator tells about the service that is watched, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast, get_args

from llmwatch.metrics import CATALOGUE

Role = Literal["ticket", "page", "cost"]
ReceiverKind = Literal["slack", "pagerduty", "webhook", "email"]

_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")
_FEATURE = re.compile(r"[^\"'`\\{}\x00-\x1f]{1,128}")
_LABEL = re.compile(r"[a-zA-Z]\w{0,63}", re.ASCII)
_TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})")
_URL = re.compile(r"https?://[^\s\"'\\{}]+")
_FILE = re.compile(r"\.{0,2}/[^\s\"'\\{}]+")
_ADDRESS = re.compile(r"[^\s\"'\\{}@]+@[^\s\"'\\{}@]+")
_KEY = re.compile(r"[A-Za-z0-9_-]{8,}")
_TAKEN = {label for metric in CATALOGUE for label in metric.prometheus_labels} | {"job", "instance", "le"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where Alertmanager sends the alerts of one role.

    Attributes:
        role: `ticket` gets all that nobody else gets, `page` what is critical, `cost` what is about money.
        kind: What it is sent with.
        target: An address (`email`), or the URL or key; or the path of a file that Alertmanager reads it from, which
            keeps the secret out of the configuration. Webhook URLs in files need Alertmanager 0.26 or newer.
    """

    role: Role
    kind: ReceiverKind
    target: str

    def __post_init__(self) -> None:
        _check(self.role in get_args(Role), f"no role {self.role!r}; there are {', '.join(get_args(Role))}")
        kinds = get_args(ReceiverKind)
        _check(self.kind in kinds, f"no kind of receiver {self.kind!r}; there are {', '.join(kinds)}")
        forms, meant = _FORMS[self.kind]
        good = any(form.fullmatch(self.target) for form in forms)
        _check(good, f"a receiver by {self.kind} needs {meant}, not {self.target!r}")

    @property
    def is_file(self) -> bool:
        """Whether `target` is a file that Alertmanager reads."""
        return _FILE.fullmatch(self.target) is not None

    @classmethod
    def parse(cls, text: str) -> Receiver:
        """The receiver that `ROLE=KIND:TARGET` names, as on the command line.

        Raises:
            ValueError: Saying what is wrong with it.
        """
        role, equals, rest = text.partition("=")
        kind, colon, target = rest.partition(":")
        _check(bool(equals and colon), f"a receiver is ROLE=KIND:TARGET, as page=pagerduty:/run/key, not {text!r}")
        return cls(cast("Role", role), cast("ReceiverKind", kind), target)


_FORMS = {
    "slack": ((_URL, _FILE), "its webhook's URL, or the path of a file that holds it"),
    "pagerduty": ((_KEY, _FILE), "a routing key, or the path of a file that holds it"),
    "webhook": ((_URL, _FILE), "a URL, or the path of a file that holds it"),
    "email": ((_ADDRESS,), "an address"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What is known of the service and of the place where it is watched.

    Raises:
        ValueError: When a value is of no use; the message names it.
    """

    service: str = "llmwatch-demo"
    """The job that Prometheus scrapes it as; with OTLP, the `service_name` that it is configured with."""
    features: tuple[str, ...] = ()
    """The features that must be there; one that is not, while the service runs, is an alert."""
    labels: tuple[str, ...] = ()
    """The labels that the application declares; they are kept for years."""
    slo: float = 99.0
    """Percent of the calls that shall not fail."""
    p95_seconds: float = 10.0
    """Seconds that 95 of 100 successful calls shall not exceed."""
    spike_dollars: float = 5.0
    """US dollars an hour below which no rise in cost is worth an alert."""
    budget: float | None = None
    """US dollars a day that the whole service may cost."""
    budgets: Mapping[str, float] = field(default_factory=dict)
    """US dollars a day that a feature may cost."""
    scrape: tuple[str, ...] = ("demo:9464",)
    """`host:port` of each page of metrics."""
    alertmanagers: tuple[str, ...] = ("alertmanager:9093",)
    """`host:port` of each Alertmanager."""
    receivers: tuple[Receiver, ...] = ()
    """Who is told; without any, alerts only stand on Alertmanager's page."""
    smtp: str | None = None
    """`host:port` of the mail server; receivers by email need it."""
    datasource: str = "Prometheus"
    """The name of the data source in Grafana."""
    prometheus_url: str = "http://prometheus:9090"
    """Where Grafana and the collector find Prometheus."""
    grafana_url: str = "http://localhost:3000"
    """Where people find Grafana; alerts link to it."""
    runbook_url: str = "runbooks"
    """Where people find the runbooks: a URL, or a path in the folder that is written."""

    def __post_init__(self) -> None:
        for name in ("features", "labels", "scrape", "alertmanagers", "receivers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "budgets", MappingProxyType(dict(self.budgets)))
        _check(_SERVICE.fullmatch(self.service), f"service={self.service!r}: letters, digits and any of _.:/- only")
        self._check_names()
        self._check_numbers()
        self._check_places()

    def _check_names(self) -> None:
        for feature in (*self.features, *self.budgets):
            _check(_FEATURE.fullmatch(feature), f"features={feature!r}: without quotes, braces and backslashes, please")
        for feature in self.budgets:
            known = not self.features or feature in self.features
            _check(known, f"budgets={feature!r}: no such feature among {', '.join(self.features)}")
        for label in self.labels:
            _check(_LABEL.fullmatch(label), f"labels={label!r} is not a label's name")
            _check(label not in _TAKEN, f"labels={label!r}: llmwatch's own labels are kept anyway")
        for name in ("features", "labels", "scrape"):
            values = getattr(self, name)
            _check(len(set(values)) == len(values), f"{name}={', '.join(values)}: one is there twice")

    def _check_numbers(self) -> None:
        # Below 94, no error rate would ever be 14.4 times what the SLO allows.
        _check(94 <= self.slo < 100, f"slo={self.slo:g}: a percentage from 94 to less than 100, as 99.5")
        amounts = {"p95_seconds": self.p95_seconds, "spike_dollars": self.spike_dollars}
        amounts |= {} if self.budget is None else {"budget": self.budget}
        amounts |= {f"budgets[{feature}]": dollars for feature, dollars in self.budgets.items()}
        for name, value in amounts.items():
            _check(0 < value < float("inf"), f"{name}={value:g}: more than 0, please")

    def _check_places(self) -> None:
        _check(self.scrape, "scrape: name at least one host:port")
        for name in ("scrape", "alertmanagers"):
            for target in getattr(self, name):
                _check(_is_target(target), f"{name}={target!r}: host:port, please, without http://")
        for name in ("prometheus_url", "grafana_url"):
            _check(_URL.fullmatch(getattr(self, name)), f"{name}={getattr(self, name)!r} is not a URL")
        _check(_FEATURE.fullmatch(self.datasource), f"datasource={self.datasource!r} is not the name of a data source")
        good = _URL.fullmatch(self.runbook_url) or self.runbook_url == "runbooks"
        _check(good, f"runbook_url={self.runbook_url!r} is not a URL")
        _check(self.smtp is None or _is_target(self.smtp), f"smtp={self.smtp!r}: host:port, please")
        by_email = any(receiver.kind == "email" for receiver in self.receivers)
        _check(self.smtp or not by_email, "receivers: by email needs smtp=host:port")


def _is_target(text: str) -> bool:
    found = _TARGET.fullmatch(text)
    return found is not None and 0 < int(found[3]) <= 65535


def _check(good: object, complaint: str) -> None:
    if not good:
        raise ValueError(complaint)
