"""The console in a browser: a page on loopback that runs ``basilica-tui`` behind a WebSocket."""

from basilica_tui.browser.server import BrowserServer, listen_on

__all__ = ["BrowserServer", "listen_on"]
