"""Hub ids: from the local cache without a word to the network, else from the network, once."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from streamingvlm_ros.config import DEMO_CHECKPOINT, ModelConfig, Settings, settings_for
from streamingvlm_ros.engine.model import checkpoint_settings, load, read_model_config, resolve
from streamingvlm_ros.errors import ModelError

HUB_ID = "me/tiny"
COMMIT = "0" * 39 + "1"
FILES = ("config.json", "generation_config.json", "model.safetensors", "streaming.json")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


class Hub:
    """A small hub with one model. `requests` are the paths that were asked for."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.files = {name: (DEMO_CHECKPOINT / name).read_bytes() for name in FILES + TOKENIZER}
        self.files |= {"pytorch_model.bin": b"pickled", "LICENSE": b"Apache", "NOTICE.md": b"2026"}
        self.status = 200
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
        self.requests.append(handler.path)
        content = self.content(handler.path.partition("?")[0])
        status = self.status if content is not None else 404
        content = content or b""
        handler.send_response(status)
        handler.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        handler.send_header("X-Repo-Commit", COMMIT)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if body:
            handler.wfile.write(content)

    def content(self, path: str) -> bytes | None:
        if path in (f"/api/models/{HUB_ID}", f"/api/models/{HUB_ID}/revision/main"):
            return json.dumps({"id": HUB_ID, "sha": COMMIT, "siblings": []}).encode()
        if path.startswith(f"/api/models/{HUB_ID}/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                for name, data in self.files.items()
            ]
            return json.dumps(entries).encode()
        return self.files.get(path.rpartition("/")[2])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Return a hub in reach."""
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def put_into_cache(cache: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Cache the model as a download by transformers leaves it; return the snapshot's folder."""
    model = cache / "models--me--tiny"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in FILES + TOKENIZER:
        if name not in without:
            shutil.copy(DEMO_CHECKPOINT / name, snapshot)
    return snapshot


def test_a_cached_model_needs_no_network(cache: Path, hub: Hub) -> None:
    snapshot = put_into_cache(cache)
    assert resolve(HUB_ID) == snapshot
    assert checkpoint_settings(HUB_ID) == settings_for(DEMO_CHECKPOINT)
    assert read_model_config(HUB_ID).model_type == "qwen2_5_vl"
    load(HUB_ID, ModelConfig())
    assert hub.requests == []


def test_a_folder_may_be_given_as_text(cache: Path, hub: Hub) -> None:
    assert checkpoint_settings(str(DEMO_CHECKPOINT)) == settings_for(DEMO_CHECKPOINT)
    load(str(DEMO_CHECKPOINT), ModelConfig())
    load("demo", ModelConfig())
    assert hub.requests == []


def test_a_cached_hub_id_has_the_settings_of_its_folder(cache: Path) -> None:
    put_into_cache(cache)
    settings = checkpoint_settings(resolve(HUB_ID))
    assert settings == settings_for(DEMO_CHECKPOINT)
    assert settings != Settings()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_download_that_was_cut_off_is_completed(cache: Path, hub: Hub, name: str) -> None:
    put_into_cache(cache, without=(name,))
    assert resolve(HUB_ID) == HUB_ID
    load(HUB_ID, ModelConfig())
    assert hub.requests
    assert resolve(HUB_ID) == cache / "models--me--tiny" / "snapshots" / COMMIT


def test_settings_come_without_the_weights(cache: Path, hub: Hub) -> None:
    assert checkpoint_settings(HUB_ID) == settings_for(DEMO_CHECKPOINT)
    assert not list(cache.rglob("*.safetensors"))
    assert resolve(HUB_ID) == HUB_ID


def test_a_model_is_downloaded_with_its_license_and_without_pickled_weights(
    cache: Path, hub: Hub
) -> None:
    load(HUB_ID, ModelConfig())
    assert not list(cache.rglob("*.bin"))
    folder = resolve(HUB_ID)
    assert isinstance(folder, Path)
    assert {"LICENSE", "NOTICE.md"} <= {path.name for path in folder.iterdir()}
    asked = len(hub.requests)
    load(HUB_ID, ModelConfig())
    assert len(hub.requests) == asked


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_hub_that_refuses_is_an_error_that_says_what_to_do(
    cache: Path, hub: Hub, status: int
) -> None:
    hub.files.clear()
    hub.status = status
    with pytest.raises(ModelError, match=rf"can't read a model at {HUB_ID}.*hf download {HUB_ID}"):
        load(HUB_ID, ModelConfig())


def test_without_cache_and_network_the_error_says_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    for use in (checkpoint_settings, read_model_config, lambda id: load(id, ModelConfig())):
        with pytest.raises(ModelError, match=r"can't be downloaded: .*hf download me/tiny"):
            use(HUB_ID)


def test_offline_mode_is_respected(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        load(HUB_ID, ModelConfig())
    put_into_cache(cache)
    load(HUB_ID, ModelConfig())
    assert hub.requests == []


@pytest.mark.parametrize("name", ["a b/c", "a--b/c..d", "-a/b-", "a/" + "b" * 300])
def test_a_name_that_no_model_can_have_is_an_error(cache: Path, hub: Hub, name: str) -> None:
    with pytest.raises(ModelError):
        load(resolve(name), ModelConfig())
    assert hub.requests == []
