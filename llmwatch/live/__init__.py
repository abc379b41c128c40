"""The live page: the last hour of this process, or of all its workers, in a browser, without Prometheus or Grafana.

A process that nobody looks at is sampled twice a minute, and in its first five minutes every five seconds; one that
somebody looks at every three seconds, however many look. What is remembered is bounded: 240 samples of the totals that
the charts draw (about 0.1 MB), and 32 of all tables, of which each row that has changed takes about 0.3 kB. That is
0.3 MB for thirty features, agents, models and providers, and below 8 MB where all labels have used up their default
budgets.
"""

from llmwatch.live._assets import CHARTS, Asset, asset, charts
from llmwatch.live._live import Live
from llmwatch.live._quantile import quantile

__all__ = ["CHARTS", "Asset", "Live", "asset", "charts", "quantile"]
