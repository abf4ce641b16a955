"""Logins to a real MLflow server that demands one: they work, and their secret stands nowhere."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import ray
from command_line import sweeper, sweeper_here
from faulty_proxy import Request, answering, opened_proxy
from run_folders import make_run
from tiers import leave_after
from tracking_servers import opened_server, read_record

from sweeper import veil

SECRET = "sentinel/9c1e pass"  # noqa: S105 - no real one
TOKEN = "sentinel-9c1e-token"  # noqa: S105
SENT = base64.b64encode(f"admin:{SECRET}".encode()).decode()
VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
SPEC = """
name: login
environment: CartPole-v1
algorithm: PPO
seeds: 1
param_space:
  lr: {{grid_search: [0.001, 0.002]}}
  train_batch_size_per_learner: 200
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
stop: {{num_env_steps_sampled_lifetime: 400}}
selection: {{finalists: 0}}
tracking: {{uri: "{uri}", experiment: "{experiment}"}}
"""


@dataclass
class Guarded:
    """A server that demands a login, and what it has stored."""

    url: str
    folder: Path

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def stored(self) -> str:
        with closing(sqlite3.connect(self.folder / "server.db")) as connection:
            return "\n".join(connection.iterdump())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    variables = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": SECRET,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
    }
    store, files = f"sqlite:///{folder}/server.db", (folder / "files").as_uri()
    options = ("--app-name", "basic-auth")
    with opened_server(store, files, *options, environment=variables) as server:
        yield Guarded(server.url, folder)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of the user's, and none of another test's."""
    monkeypatch.setattr(veil, "_values", {})
    monkeypatch.setattr(veil, "_pattern", [])
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def read_all(folder: Path) -> list[Path]:
    """The files below a folder that hold a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    secrets = [one.encode() for one in (SECRET, quote(SECRET, safe=""), TOKEN, SENT)]
    return [path for path in files if any(one in path.read_bytes() for one in secrets)]


def says_none(text: str) -> None:
    for secret in (SECRET, quote(SECRET, safe=""), TOKEN, SENT, "sentinel"):
        assert secret not in text


LOGINS: list[tuple[str, str, dict[str, str]]] = [
    ("uri", f"http://admin:{quote(SECRET, safe='')}@{{address}}", {}),
    (
        "variables",
        "http://{address}",
        {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": SECRET},
    ),
    ("reference", "http://admin:${{env:OUR_SECRET}}@{address}", {"OUR_SECRET": SECRET}),
    ("whole reference", "${{env:OUR_SERVER}}", {"OUR_SERVER": "{uri}"}),
]


@pytest.mark.parametrize(("how", "uri", "variables"), leave_after(1, LOGINS))
def test_a_sweep_logs_in_and_its_secret_stands_nowhere(
    how: str,
    uri: str,
    variables: Mapping[str, str],
    tmp_path: Path,
    guarded: Guarded,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = f"http://admin:{quote(SECRET, safe='')}@{guarded.address}"
    for name, text in variables.items():
        monkeypatch.setenv(name, text.format(uri=whole))
    written = uri.format(address=guarded.address)
    (tmp_path / "spec.yaml").write_text(SPEC.format(uri=written, experiment=how))
    address = f"ray.address={ray.get_runtime_context().gcs_address}"
    words = [("plan", "spec.yaml"), ("plan", "spec.yaml", "--json"), ("run", "spec.yaml", address)]
    words += [("list",), ("status",), ("results", "--json"), ("best",), ("report",)]
    said = ""
    for one in words:
        done = (sweeper if one[0] == "run" else sweeper_here)(*one, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "MLflow:" not in done.stderr
        said += done.stdout + done.stderr
    ui = sweeper_here("ui", cwd=tmp_path)
    assert ui.returncode == 2
    says_none(said + ui.stderr)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    again = sweeper_here("log", "last", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    says_none(again.stdout + again.stderr)
    assert {"sweep", "t0001", "t0002"} < set(read_record(guarded.url, how))
    says_none(guarded.stored())
    assert read_all(tmp_path / "runs") == []
    assert read_all(guarded.folder / "files") == []


def test_a_wrong_password_is_one_sentence_and_the_sweep_goes_on(
    tmp_path: Path, guarded: Guarded, ray_cluster: None
) -> None:
    uri = f"http://admin:{TOKEN}@{guarded.address}"
    (tmp_path / "spec.yaml").write_text(SPEC.format(uri=uri, experiment="wrong"))
    address = f"ray.address={ray.get_runtime_context().gcs_address}"
    done = sweeper("run", "spec.yaml", address, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "MLflow:" in line]
    assert (
        f"the server at http://admin@{guarded.address} does not accept this user and password "
        "(401 Unauthorized); they are in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
        "or in tracking.uri; the sweep goes on"
    ) in said
    says_none(done.stdout + done.stderr)
    assert read_all(tmp_path / "runs") == []


def _demand_token(request: Request) -> None:
    if request.headers.get("Authorization") == f"Bearer {TOKEN}":
        request.forward()
    else:
        request.reply(401, {"Content-Type": "text/plain"}, b"who are you?")


def test_a_token_opens_a_server_and_a_wrong_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs", "made-20260101-000000")
    store, files = f"sqlite:///{tmp_path}/server.db", (tmp_path / "files").as_uri()
    with opened_server(store, files) as server, opened_proxy(server.url, _demand_token) as proxy:
        words = ("log", run.root.name, "--uri", proxy.url, "--experiment", "e")
        refused = sweeper_here(*words, cwd=tmp_path)
        assert refused.returncode == 1
        assert (
            f"the server at {proxy.url} wants a login (401 Unauthorized); set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        ) in refused.stderr
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sentinel-of-another")
        refused = sweeper_here(*words, cwd=tmp_path)
        assert "does not accept the login by MLFLOW_TRACKING_TOKEN (401" in refused.stderr
        says_none(refused.stderr)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        done = sweeper_here(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert {"sweep", "t0001", "t0002"} < set(read_record(server.url, "e"))
    assert read_all(tmp_path) == []


def _echo(request: Request) -> None:
    """Says again what it was sent, as debug pages do."""
    heard = f"no: {request.headers.get('Authorization')}"
    request.reply(418, {"Content-Type": "text/plain"}, heard.encode())


def test_a_server_that_repeats_a_login_is_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs", "made-20260101-000000")
    with opened_proxy("http://127.0.0.1:9", _echo) as proxy:
        address = proxy.url.removeprefix("http://")
        uri = f"http://admin:{quote(SECRET, safe='')}@{address}"
        words = ("log", run.root.name, "--experiment", "e", "--uri")
        for given in (uri, proxy.url):
            done = sweeper_here(*words, given, cwd=tmp_path)
            assert done.returncode == 1
            assert "418" in done.stderr
            assert done.stderr.count("\n") == 1
            says_none(done.stderr)
            monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
        proxy.fault = answering(500, SECRET)
        done = sweeper_here(*words, uri, cwd=tmp_path)
        says_none(done.stderr)
    done = sweeper_here(*words, uri, cwd=tmp_path)  # nobody answers
    assert f"no server answers at http://admin@{address}" in done.stderr
    says_none(done.stderr)
