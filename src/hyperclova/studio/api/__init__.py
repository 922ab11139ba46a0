"""The HTTP APIs: OpenAI's wire format under ``/v1``, Studio's own under ``/api``."""
