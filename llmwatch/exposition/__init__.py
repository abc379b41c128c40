"""Exposition: the page that Prometheus scrapes, over HTTP of its own or inside an application's."""

from llmwatch.exposition._apps import asgi_app, wsgi_app
from llmwatch.exposition._endpoint import Endpoint, serve
from llmwatch.exposition._page import Page
from llmwatch.exposition._site import Request, Response, Site

__all__ = ["Endpoint", "Page", "Request", "Response", "Site", "asgi_app", "serve", "wsgi_app"]
