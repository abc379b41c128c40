"""Testing: what a piece of code records, caught; a clock that is moved by hand; checks for extractors of your own."""

from llmwatch.testing._capture import Capture, ManualClock, capture
from llmwatch.testing._conformance import check_accumulator, check_extractor

__all__ = ["Capture", "ManualClock", "capture", "check_accumulator", "check_extractor"]
