"""Operations: everything that an operator deploys beside an application, written into a folder.

`write(directory, Options(service="support-bot"))` writes scrape configurations, recording rules, alerts with their
runbooks, Alertmanager's routes, a collector's configuration, dashboards, retention in tiers, and a compose file that
starts it all. `llmwatch ops write DIR` is the same on the command line.
"""

from llmwatch.ops._options import Options, Receiver
from llmwatch.ops._writing import NotOursError, write

__all__ = ["NotOursError", "Options", "Receiver", "write"]
