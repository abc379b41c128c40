"""The conformance kit finds what is wrong with an extractor, and nothing in one that is right."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

import llmwatch
from llmwatch import extractors
from llmwatch.extractors import Reading, _plugins
from llmwatch.testing import check_accumulator, check_extractor
from llmwatch.usage import Usage

RESPONSE = {"engine": "acme-1", "used": {"prompt": 20, "answer": 5, "cached": 4}}
USAGE = Usage(20, 5, cache_read_tokens=4)
PATHS = {"input_tokens": "used.prompt", "output_tokens": "used.answer", "cache_read_tokens": "used.cached"}
EVENTS = [{"piece": "a"}, {"piece": "b", "tokens": 2}, {"tokens": 5}]


class Calm:
    def __init__(self):
        self.tokens = None

    def add(self, event):
        if isinstance(event, dict) and isinstance(event.get("tokens"), int):
            self.tokens = event["tokens"]

    def reading(self):
        return None if self.tokens is None else Reading(usage=Usage(output_tokens=self.tokens))


class Nervous(Calm):
    def add(self, event):
        self.tokens = event["tokens"] + 0 if "tokens" in event else self.tokens


def test_a_path_mapping_that_is_right_passes():
    check_extractor(PATHS, RESPONSE, USAGE)


def test_a_wrong_count_is_named():
    with pytest.raises(AssertionError, match=r"output_tokens=5.* expected .*output_tokens=6"):
        check_extractor(PATHS, RESPONSE, Usage(20, 6, cache_read_tokens=4))


def test_a_function_that_trusts_its_input_is_found_out():
    with pytest.raises(AssertionError, match=r"raised KeyError\('used'\) for used missing"):
        check_extractor(
            lambda response: Usage(response["used"]["prompt"], response["used"]["answer"]), RESPONSE, Usage(20, 5)
        )


def test_a_function_that_changes_the_response_is_found_out():
    def greedy(response):
        return Usage(response.get("tokens"), 1) if not response.update(seen=True) else None

    with pytest.raises(AssertionError, match="changed the response"):
        check_extractor(greedy, {"tokens": 3}, Usage(3, 1))


def test_what_is_no_extractor_is_refused():
    with pytest.raises(TypeError, match="unknown field 'tokens'"):
        check_extractor({"tokens": "used.prompt"}, RESPONSE, USAGE)


def test_an_accumulator_that_is_right_passes():
    check_accumulator(Calm, EVENTS, Usage(output_tokens=5))


def test_an_accumulator_that_trusts_its_events_is_found_out():
    with pytest.raises(AssertionError, match=r"raised TypeError.* event 1 with tokens"):
        check_accumulator(Nervous, EVENTS, Usage(output_tokens=5))


def test_plugins_of_other_packages_are_loaded_once_and_a_broken_one_is_reported_and_skipped(monkeypatch):
    class Reply:
        tokens = 7

    def register():
        extractors.register_extractor(Reply)(read)

    def read(reply):
        return llmwatch.Usage(output_tokens=reply.tokens)

    monkeypatch.setitem(sys.modules, "acme_plugin", type("Module", (), {"register": staticmethod(register)}))
    found = [
        EntryPoint("broken", "no_such_package_of_ours:register", _plugins.GROUP),
        EntryPoint("acme", "acme_plugin:register", _plugins.GROUP),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: found if group == _plugins.GROUP else [])
    monkeypatch.setattr(_plugins, "_loaded", False)
    reports = []
    try:
        extractors.load_plugins(lambda where, error: reports.append((where, type(error))))
        extractors.load_plugins(lambda where, error: reports.append("again"))

        assert reports == [("plugin broken", ModuleNotFoundError)]
        assert extractors.read(Reply()).usage == Usage(output_tokens=7)
    finally:
        extractors.unregister_extractor(read)
