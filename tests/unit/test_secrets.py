"""Secrets stand in no record: references stay references, passwords leave URIs, words are veiled.

The run of a whole sweep with a secret is in ``tests/integration/running/test_secrets_run.py``.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from gymnasium import Space

from sweeper import references, veil
from sweeper.environments.building import EnvironmentDescription, build_env, describe
from sweeper.environments.identity import identify
from sweeper.environments.modules import summarise
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import SpecError, UserError
from sweeper.hints import show
from sweeper.journal_events import (
    VERSION,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    decode_event,
    encode_event,
)
from sweeper.paths import write_atomically
from sweeper.printable import PrintableFormatter, printable
from sweeper.running.failures import describe_failure, explain_tune_failure
from sweeper.running.provenance import describe_environment
from sweeper.spec import ExperimentSpec, dump_spec, load_spec
from sweeper.spec.experiment import parse
from sweeper.spec.text.scalars import parse_scalar
from sweeper.states import TrialState
from sweeper.tracking.credentials import find_address
from sweeper.trainables.spaces import shorten

SECRET = "hunter2-é\"quoted'"  # noqa: S105 - no real one
SPEC = """
name: s
environment:
  id: CartPole-v1
  kwargs: {token: "${env:TOKEN}", url: "https://x/?t=${env:TOKEN}", plain: "$${env:TOKEN}", n: 1}
  wrappers: [{my.Wrapper: {keys: ["${env:TOKEN}", "a"]}}]
algorithm: PPO
param_space: {lr: "${env:RATE}"}
stop: {num_env_steps_sampled_lifetime: 1000}
tracking: {uri: "http://me:${env:TOKEN}@host:5000", experiment: e}
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has seen no secret yet, with some in its environment."""
    monkeypatch.setattr(veil, "_values", {})
    monkeypatch.setattr(veil, "_pattern", [])
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("RATE", "0.001")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def load(tmp_path: Path, text: str = SPEC, *overrides: str) -> ExperimentSpec:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return load_spec(path, overrides)


# -- references --------------------------------------------------------------------------------


def test_a_recorded_spec_has_the_reference_and_not_the_value(tmp_path: Path) -> None:
    text = dump_spec(load(tmp_path))
    assert "hunter2" not in text
    for part in ("${env:TOKEN}", "?t=${env:TOKEN}", "$${env:TOKEN}", "me:${env:TOKEN}@host"):
        assert part in text
    assert "lr: 0.001" in text, "a number is a setting"


def test_the_record_is_read_where_the_variable_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load(tmp_path)
    monkeypatch.delenv("TOKEN")
    monkeypatch.delenv("RATE")
    again = load(tmp_path, dump_spec(spec))
    assert again == spec
    assert dump_spec(again) == dump_spec(spec)


def test_values_are_put_in_place_when_the_environment_is_built(tmp_path: Path) -> None:
    settings = load(tmp_path).environment.settings()
    passed = EnvironmentSettings.from_json(json.loads(json.dumps(settings.to_json())))
    for one in (settings, passed):
        assert "hunter2" not in json.dumps(one.to_json())
        assert one.variables == ("TOKEN",)
        assert one.arguments == {
            "token": SECRET,
            "url": f"https://x/?t={SECRET}",
            "plain": "${env:TOKEN}",
            "n": 1,
        }
        assert one.wrappers[0].arguments == {"keys": [SECRET, "a"]}


def test_an_override_refers_to_a_variable_too(tmp_path: Path) -> None:
    spec = load(tmp_path, SPEC, "environment.kwargs.other=${env:TOKEN}")
    assert spec.environment.kwargs["other"] == "${env:TOKEN}"
    assert spec.environment.settings().arguments["other"] == SECRET


def test_a_key_that_refers_to_a_reference_keeps_it(tmp_path: Path) -> None:
    text = SPEC.replace(
        "n: 1", 'n: "${environment.kwargs.token}", p: "${environment.kwargs.plain}"'
    )
    kwargs = load(tmp_path, text).environment.settings()
    assert kwargs.kwargs["n"] == "${env:TOKEN}"
    assert kwargs.arguments["p"] == "${env:TOKEN}"


def test_plain_values_from_python_are_no_references(tmp_path: Path) -> None:
    plain = {
        "environment": {"id": "CartPole-v1", "kwargs": {"text": "${env:TOKEN}"}},
        "algorithm": "PPO",
        "stop": {"num_env_steps_sampled_lifetime": 1000},
    }
    spec = parse(plain)
    assert spec.environment.settings().arguments == {"text": "${env:TOKEN}"}
    assert load(tmp_path, dump_spec(spec)).environment == spec.environment


@pytest.mark.parametrize(
    "text",
    [
        *("8080", "-3", "1e-3", "0.5", "true", "False", "null", "", "~", "0x1f", "0o17", ".inf"),
        *("-.inf", "abc", "007", "1_000", "yes", "0b1", "1e", "tr ue", "http://x", "٣", "1" * 400),
    ],
)
def test_a_variable_has_the_type_of_its_text_in_yaml(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", text)
    try:
        expected = parse_scalar(text)
    except ValueError:  # too large a number, so it stays a text
        expected = text
    found = references.resolve("${env:TOKEN}")
    assert (type(found), found) == (type(expected), expected)


def test_an_unset_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load(tmp_path)
    monkeypatch.delenv("TOKEN")
    with pytest.raises(EnvironmentBuildError, match="the environment variable TOKEN is not set"):
        build_env(EnvironmentSettings("CartPole-v1", {"x": "${env:TOKEN}"}))
    with pytest.raises(UserError, match=r"tracking\.uri: the environment variable TOKEN is not"):
        find_address(spec.tracking.uri if spec.tracking else "")
    with pytest.raises(SpecError, match=r"tracking\.uri: the environment variable TOKEN is not"):
        load(tmp_path, SPEC.replace("my.Wrapper", "FlattenObservation")).plan()


def test_a_secret_can_t_be_a_hyperparameter(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't be a hyperparameter") as refused:
        load(tmp_path, SPEC, "param_space.model_config.fcnet_activation=${env:TOKEN}")
    assert "hunter2" not in printable(str(refused.value))
    with pytest.raises(SpecError, match="can't be a hyperparameter"):
        load(tmp_path, SPEC, "param_space.lr={choice: [0.1, 'x${env:TOKEN}']}")


# -- passwords ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "recorded", "used"),
    [
        ("http://me:pa55-w0rd@h:5000/x", "http://me@h:5000/x", ("http://h:5000/x", "pa55-w0rd")),
        ("http://me:p%40ss%2Fword@h", "http://me@h", ("http://h", "p@ss/word")),
        ("http://me:p@ss/wo:rd@h", "http://me@h", ("http://h", "p@ss/wo:rd")),
        ("http://me:p1@h", "http://me@h", ("http://h", "p1")),
        ("http://me:/k3yX@h", "http://me@h", ("http://h", "/k3yX")),
        ("http://me@h", "http://me@h", ("http://h", None)),
        ("http://h:5000", "http://h:5000", ("http://h:5000", None)),
        ("http://h:5000/a@b", "http://h:5000/a@b", ("http://h:5000/a@b", None)),
        ("http://me:pa55@h:5000/a", "http://me@h:5000/a", ("http://h:5000/a", "pa55")),
        ("postgresql://h/a@b", "postgresql://h/a@b", ("postgresql://h/a@b", None)),
        ("http://me@corp:pa55@h", "http://me@corp@h", ("http://h", "pa55")),
        (
            "postgresql+psycopg2://me:pa55-w0rd@h/db",
            "postgresql+psycopg2://me@h/db",
            ("postgresql+psycopg2://me:pa55-w0rd@h/db", "pa55-w0rd"),
        ),
    ],
)
def test_a_password_is_used_and_not_recorded(
    given: str, recorded: str, used: tuple[str, str | None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from sweeper.spec import uris

    monkeypatch.setattr(uris, "_passwords", {})
    text = SPEC.replace("http://me:${env:TOKEN}@host:5000", given)
    spec = load(tmp_path, text)
    assert spec.tracking is not None
    assert spec.tracking.uri == recorded
    assert f"uri: {recorded}" in dump_spec(spec).replace("'", "")
    for secret in ("pa55", "p%40ss", "p@ss", "p1@", "k3yX"):
        assert secret not in spec.as_written
    address = find_address(recorded)
    assert address.uri == used[0]
    assert used[1] is None or used[1] == (address.password or used[1])


@pytest.mark.parametrize(
    "text", ["pa55", "/abc", "12/ab", "007", "p@ss", "a:b", "x/y@z", "%41", "é"]
)
@pytest.mark.parametrize("form", ["me:${env:PW}", "${env:LOGIN}"])
def test_a_password_from_a_variable_may_hold_anything(
    text: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", text)
    monkeypatch.setenv("LOGIN", f"me:{text}")
    address = find_address(f"https://{form}@host/x")
    assert (address.uri, address.user) == ("https://host/x", "me")
    assert address.password == ("A" if text == "%41" else text)


def test_a_user_may_be_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ME", "ada")
    for login in ("${env:ME}", "${env:ME}:pa55-w0rd"):
        text = SPEC.replace("me:${env:TOKEN}@host:5000", f"{login}@host:5000")
        tracking = load(tmp_path, text).tracking
        assert tracking is not None
        assert tracking.uri == "http://${env:ME}@host:5000"
        assert find_address(tracking.uri).user == "ada"
    assert find_address(tracking.uri).password == "pa55-w0rd"  # noqa: S105


def test_a_later_launch_takes_the_password_from_mlflows_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import os

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pa55-w0rd")
    assert find_address("postgresql://me@h/db").uri == "postgresql://me:pa55-w0rd@h/db"
    with find_address("http://me@h").login():
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "pa55-w0rd"  # noqa: S105
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ


def test_a_secret_in_a_query_is_refused(tmp_path: Path) -> None:
    place = "http://me:${env:TOKEN}@host:5000"
    with pytest.raises(SpecError, match="has a secret in password=") as refused:
        load(tmp_path, SPEC.replace(place, "postgresql://h/db?password=pa55-w0rd"))
    assert "pa55" not in str(refused.value)
    load(tmp_path, SPEC.replace(place, "postgresql://h/db?password=${env:TOKEN}&ssl=1"))


@pytest.mark.parametrize("uri", ["htp://me:pa55@h", "ftp://me:pa55-w0rd-that-is-long-enough@h:1/x"])
def test_an_error_about_a_uri_does_not_show_its_password(uri: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        load(tmp_path, SPEC.replace("http://me:${env:TOKEN}@host:5000", uri))
    assert "pa55" not in str(refused.value)
    assert "pa55" not in show({"uri": uri * 3})


def test_the_command_line_is_recorded_without_passwords() -> None:
    command = ("sweeper", "run", "s.yaml", "tracking.uri=http://me:pa55@h:5000", "a=b")
    recorded = describe_environment(command, (0,))["command"]
    assert recorded == ["sweeper", "run", "s.yaml", "tracking.uri=http://me:***@h:5000", "a=b"]


def test_an_error_about_a_variable_does_not_show_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for secret in ("hunter2-short", "hunter2-" + "long" * 40):
        monkeypatch.setenv("TOKEN", secret)
        for override in (
            "stop.time_total_s=${env:TOKEN}",
            "backend=${env:TOKEN}",
            "seeds=${env:TOKEN}",
        ):
            with pytest.raises(SpecError, match=r"\*\*\*") as refused:
                load(tmp_path, SPEC, override)
            assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:{}@h",
        "{user}://me:{}@h",
        "x+y://{user}:{}@h:5000/x",
        "http://me:{}@h/x?mail=a@b",
        "http://h,http://me@h,http://me:{}@h",
        "postgresql://:{}@h",
        "http://me@corp:{}@h",
    ],
)
@pytest.mark.parametrize("length", [1, 299, 300, 301, 5000])
def test_a_password_of_any_length_is_hidden(uri: str, length: int) -> None:
    for letter in "p/:#?@[%":
        said = uri.format(f"pa55{letter * length}pa55", user="u" * length)
        for words in (said, f"see {said} or a@b", f"a@b\n\t{said}"):
            hidden = veil.hide_passwords(words)
            assert "pa55" not in hidden
            assert "***@" in hidden
            assert len(words.split()) == len(hidden.split())
    assert "pa55" not in str(describe_environment(("sweeper", f"tracking.uri={said}"), (0,)))


@pytest.mark.parametrize(
    "text", ["http://me@h", "http://h:5000/x", "me:pa55@h", "http://h/a:b@c", "a@b http://h:1/x"]
)
def test_what_has_no_password_stays_as_it_is(text: str) -> None:
    assert veil.hide_passwords(text) == text


def test_hiding_takes_no_longer_for_a_hostile_text() -> None:
    for part in ("a://b:", "a.a", "a://", "x", "a-", ":@", "a://b:@ ", "://", "a://b"):
        text = part * (200_000 // len(part))
        for words in (f"@ :// {text}", f"@ :// {text}@", f"{text}://u:{text}"):
            start = time.thread_time()
            assert len(printable(words)) >= 5
            assert time.thread_time() - start < 2.0


# -- what code says ----------------------------------------------------------------------------


class Telling(Space[Any]):
    """A space of somebody else's, which describes itself with a secret."""

    def __repr__(self) -> str:
        return f"Telling({SECRET})"

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return 0

    def contains(self, x: Any) -> bool:
        return True


def printed() -> str:
    stream = io.StringIO()
    print("with", SECRET, file=veil.VeiledStream(stream))
    return stream.getvalue()


def logged() -> str:
    words = ("mine", logging.WARNING, "mine.py", 1, "logged %s", (SECRET,), None)
    return PrintableFormatter("%(message)s").format(logging.LogRecord(*words))


def described() -> str:
    spaces = EnvironmentDescription(Telling(), Telling(), None)
    return str(identify(EnvironmentSettings("CartPole-v1"), spaces).to_json())


@pytest.mark.parametrize(
    "say",
    [
        printed,
        logged,
        described,
        lambda: summarise(ValueError(f"refused {SECRET!r} and\n{SECRET}")),
        lambda: summarise(SystemExit(SECRET)),
        lambda: describe_failure(f"Traceback\nTrialFailedError: no {SECRET}").error,
        lambda: describe_failure(f"Traceback\n{'x' * 290}{SECRET}").error,
        lambda: explain_tune_failure(RuntimeError(f"no {SECRET}")),
        lambda: shorten(Telling()),
    ],
)
def test_what_other_code_says_is_veiled_where_it_enters(say: Callable[[], str]) -> None:
    veil.remember(SECRET)
    assert "hunter2" not in say()
    assert "***" in say()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "quote": quote,
    "nothing safe": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "a query": lambda text: urlencode({"t": text}),
    "JavaScript": lambda text: quote(text, safe="!~*'()"),
    "a login": lambda text: quote(text, safe="!$&'()*+,;="),
    "in small letters": lambda text: re.sub("%..", lambda one: one[0].lower(), quote(text)),
    "in JSON": lambda text: json.dumps(f"https://x/?t={quote_plus(text)}"),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize(
    "secret",
    [SECRET, "p w/d+100%=x", "/a/b?c", "hunter2 \u20ac\U0001f600", "a" * 300 + "&", "tab\t\n~"],
)
def test_a_secret_is_veiled_as_a_uri_has_it(secret: str, encode: Callable[[str], str]) -> None:
    veil.remember(f"hunter2{secret}")
    said = veil.veil(f"<{encode(f'hunter2{secret}')}>")
    assert re.fullmatch(r'<("https://x/\?)?(t=)?\*\*\*"?>', said), said


def test_a_secret_that_is_no_utf_8_is_veiled() -> None:
    raw = b"hunter2 \xff\xfe"
    for secret in (raw.decode(errors="surrogateescape"), "hunter2 \ud800"):
        veil.remember(secret)
        assert veil.veil(f"<{secret}>") == "<***>"
    assert veil.veil(f"<{quote(raw)}>") == "<***>"


def test_a_long_secret_is_veiled_at_once() -> None:
    start = time.thread_time()
    veil.remember("hunter2/+=" * 3000)
    assert veil.veil(quote_plus("hunter2/+=" * 3000)) == "***"
    assert time.thread_time() - start < 5.0


def test_what_a_process_prints_and_logs_is_veiled_from_now_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, other = io.StringIO(), io.StringIO()
    err = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    logger = logging.getLogger(f"telling.{tmp_path.name}")
    logger.handlers = [
        logging.StreamHandler(err),
        logging._StderrHandler(),  # type: ignore[attr-defined]
        logging.StreamHandler(other),
    ]
    for _ in range(2):
        veil.veil_output()
    veil.remember(SECRET)
    sys.stdout.write(f"printed {SECRET}")
    logger.error("logged %s", SECRET)
    err.flush()
    assert out.getvalue() == "printed ***"
    assert capfd.readouterr().err == "logged ***\n" * 2
    assert other.getvalue() == f"logged {SECRET}\n", "a stream of the user's own"
    assert isinstance(sys.stdout, veil.VeiledStream)
    assert sys.stdout.stream is out


class Refusal(Exception):  # noqa: N818
    """An error that words its text itself."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __str__(self) -> str:
        return f"refused {self.token}"


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (ValueError(f"refused {SECRET}"), None, "ValueError: refused ***"),
        (ValueError("refused"), KeyError(SECRET), "ValueError: refused"),
        (KeyError(SECRET, 7), None, "KeyError: ('***', 7)"),
        (FileNotFoundError(2, "none", SECRET), None, "FileNotFoundError: [Errno 2] none: '***'"),
        (Refusal(SECRET), None, "Refusal: refused ***"),
        (ValueError("refused"), Refusal(SECRET), "ValueError: refused"),
    ],
)
def test_an_error_says_what_it_said_but_for_its_secret(
    error: Exception, cause: Exception | None, words: str
) -> None:
    veil.remember(SECRET)
    try:
        try:
            raise cause or KeyError(SECRET)
        except Exception as one:
            raise error from (one if cause else None)
    except Exception as one:
        veiled = veil.veil_error(one)
    said = "".join(traceback.format_exception(veiled))
    assert "hunter2" not in said
    assert words in said
    assert "test_secrets.py" in said, "where it was raised"


def test_a_secret_of_several_lines_is_veiled_in_one_line() -> None:
    key = "-----BEGIN KEY-----\nhunter2hunter2\n-----END KEY-----"
    veil.remember(key)
    for said in (
        summarise(ValueError(f"bad {key}")),
        describe_failure(f"Traceback\nValueError: bad {key}").error,
    ):
        assert "hunter2" not in said
        assert "END" not in said


# Values that stand in names, paths, states and metrics, too.
COMMON = ("hopper", "evaluation", "trials", "search", "weights", "checkpoint", "TERMINATED")


@pytest.mark.parametrize("secret", COMMON)
def test_no_name_in_a_record_is_taken_for_a_secret(secret: str, tmp_path: Path) -> None:
    veil.remember(secret)
    place = "trials/t0001/checkpoint_000000"
    events = [
        LaunchStarted(1.0, 1, 7, ("sweeper", "run", "hopper.yaml"), spec="name: hopper-ppo\n"),
        TrialAsked(2.0, "t0001", {"search": "weights"}, {"hopper": 1}, (0,)),
        TrialReported(3.0, "t0001", {"evaluation/x": 1.0}, stopped_by="evaluation/x >= 1"),
        TrialCheckpointed(4.0, "t0001", place, {"evaluation/x": 1.0}),
        TrialEnded(5.0, "t0001", TrialState.TERMINATED, "evaluation/x >= 1"),
    ]
    for number, event in enumerate(events, start=1):
        line = encode_event(event, number)
        assert decode_event(line.strip(), VERSION) == (event, number)
    text = f"name: {secret}-ppo\n{secret}: {{weights.safetensors: 1}}\n"
    write_atomically(tmp_path / "record.yaml", text)
    assert (tmp_path / "record.yaml").read_text() == text
    assert printable(f"runs/{secret}-ppo: {secret}") == f"runs/{secret}-ppo: {secret}"


def test_our_own_line_in_a_trial_s_log_keeps_its_names(capfd: pytest.CaptureFixture[str]) -> None:
    veil.remember("evaluation")
    stream = veil.VeiledStream(sys.stdout)
    print("own evaluation", file=veil.unveiled(stream), flush=True)
    print("an evaluation", file=stream, flush=True)
    assert capfd.readouterr().out == "own evaluation\nan ***\n"


@pytest.mark.parametrize("text", ["", "a", "runs", "12345678", "0.001234", "/home/me/data"])
def test_a_common_text_is_not_taken_for_a_secret(text: str) -> None:
    veil.remember(text)
    assert veil.veil(f"<{text}>") == f"<{text}>"


def test_part_of_the_working_directory_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "somebody").mkdir()
    monkeypatch.chdir(tmp_path / "somebody")
    veil.remember("somebody")
    assert veil.veil("/home/somebody") == "/home/somebody"


def test_an_error_of_the_environment_does_not_show_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling_env.py").write_text(
        "import gymnasium\n"
        "class Telling(gymnasium.Env):\n"
        "    def __init__(self, token):\n"
        "        print('with', token)\n"
        "        raise ValueError(f'no such token: {token}')\n"
        "gymnasium.register('Telling-v0', entry_point=Telling)\n"
    )
    settings = EnvironmentSettings(
        "Telling-v0", {"token": "${env:TOKEN}"}, (), "telling_env", (str(tmp_path),)
    )
    with pytest.raises(EnvironmentBuildError, match=r"\$\{env:TOKEN\}.*no such token: \*\*\*"):
        build_env(settings)


def test_what_an_environment_returns_is_described_without_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "returning_env.py").write_text(
        "import gymnasium, numpy as np\n"
        "from gymnasium import spaces\n"
        "class Returning(gymnasium.Env):\n"
        "    observation_space = spaces.Box(-1, 1, (2,), np.float32)\n"
        "    action_space = spaces.Discrete(2)\n"
        "    def __init__(self, token):\n"
        "        self.token = token\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return np.zeros(2, np.float32), {}\n"
        "    def step(self, action):\n"
        "        return np.zeros(2, np.float32), self.token, False, False, {}\n"
        "gymnasium.register('Returning-v0', entry_point=Returning)\n"
    )
    for secret in ("hunter2-short", "hunter2-" + "long" * 40):
        monkeypatch.setenv("TOKEN", secret)
        settings = EnvironmentSettings(
            "Returning-v0", {"token": "${env:TOKEN}"}, (), "returning_env", (str(tmp_path),)
        )
        fault = describe(settings).probe.fault
        assert fault is not None
        assert "as reward" in fault
        assert "hunter2" not in fault
