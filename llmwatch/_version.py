"""The version of llmwatch, read by the build and reported by `llmwatch_build_info`."""

__version__ = "0.1.0"
