"""The pages people see: rendered on the server, brought to life by small ES modules.

``create_router`` gives the routes; what a page shows comes in through functions, so that pages
know nothing of the database or of the engine. ``static_files`` serves the modules, the styles
and the mark. Every page has a twin: the same data as JSON under the same address with ``.json``.
"""

from hyperclova.studio.pages.playground import create_router
from hyperclova.studio.pages.rendering import static_files

__all__ = ["create_router", "static_files"]
