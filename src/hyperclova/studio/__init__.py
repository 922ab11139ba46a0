"""Studio: pages to write with a model, and an API that speaks OpenAI's wire format.

``app.create_app(Settings(model))`` is the ASGI application, ``server.serve`` runs it as a program
(``hyperclova studio``). No torch here: the model lives in a child process.
"""
