"""The dashboards as typed code: `python -m llmwatch.ops._dashboards` writes the JSON that ships in `files/grafana`.

It needs grafana-foundation-sdk, which is for development only; the wheel has the JSON and not this package.
"""
