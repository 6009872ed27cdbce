"""The endpoint of a judge: any with OpenAI's protocol for chats."""

from __future__ import annotations

import os
from typing import Any

import httpx2

from ..errors import EvaluationError

API_KEY = "OPENAI_API_KEY"
"""Environment variable with the endpoint's key, if it needs one."""

_TIMEOUT_S = 120.0


class JudgeEndpoint:
    """Sends requests. A password in the URL is sent as basic authentication and never shown."""

    def __init__(self, url: str) -> None:
        """`url` ends with /v1, as for OpenAI's clients.

        Raises:
            EvaluationError: it is no URL, or the key can't be sent.
        """
        parsed = _parse(url)
        bare = parsed.copy_with(username=None, password=None)
        self.url = str(bare.copy_with(query=None, fragment=None)).rstrip("/")
        """The URL without user, password and parameters, for messages and files."""
        path = f"{parsed.path.rstrip('/')}/chat/completions"
        self._target = bare.copy_with(path=path, fragment=None)
        auth = (parsed.username, parsed.password) if parsed.userinfo else None
        self._client = httpx2.Client(timeout=_TIMEOUT_S, headers=_headers(), auth=auth)

    def reply_to(self, request: dict[str, Any]) -> str:
        """Return the text of the reply. EvaluationError if there is none."""
        try:
            response = self._client.post(self._target, json=request)
            response.raise_for_status()
            return str(response.json()["choices"][0]["message"]["content"])
        except httpx2.HTTPStatusError as error:  # its own message has the whole URL
            status = f"HTTP {error.response.status_code} {error.response.reason_phrase}".strip()
            raise self._no_answer(status) from error
        except (httpx2.HTTPError, ValueError, LookupError, TypeError) as error:
            raise self._no_answer(repr(error)) from error

    def _no_answer(self, reason: str) -> EvaluationError:
        return EvaluationError(f"the judge at {self.url} gave no answer: {reason}")


def _parse(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        # The text isn't shown: a password in it may be the reason.
        raise EvaluationError(
            "the judge's URL must be one like http://localhost:8000/v1; in a password, write "
            "special characters as %XX"
        ) from None
    return parsed


def _headers() -> dict[str, str]:
    key = os.environ.get(API_KEY)
    if not key:
        return {}
    # Checked here because the client's own error would show the key.
    if not (key.isascii() and key.isprintable()):
        raise EvaluationError(
            f"{API_KEY} has characters that a key can't have, perhaps a line break; set it again"
        )
    return {"Authorization": f"Bearer {key}"}
