"""The policies that a server was started with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from segue.errors import ConfigError
from segue.server.refused import Refused, Status
from segue.server.store import MAX_NAMED, PolicyStore
from segue.wire.refusal import Reason
from tests.unit.server.toy_policy import SPEC, ToyPolicy


def test_policies_are_loaded_warm_and_offered_in_order() -> None:
    """Each path is loaded on the device and warmed up once; the first is the server's own choice."""
    asked: list[tuple[str, str]] = []
    made: dict[str, ToyPolicy] = {}

    def load(path: str, device: str) -> ToyPolicy:
        asked.append((path, device))
        made[path] = ToyPolicy(replace(SPEC, name=path))
        return made[path]

    store = PolicyStore(load, ["b", "a"], "cpu")
    assert store.specs() == ()
    store.load()
    assert asked == [("b", "cpu"), ("a", "cpu")]
    assert all(policy.warm for policy in made.values())
    assert [spec.name for spec in store.specs()] == ["b", "a"]
    assert store.resolve("").name == "b"
    assert store.resolve("a").name == "a"
    assert store.policy("a") is made["a"]


def test_two_policies_of_one_name_are_refused_at_start() -> None:
    """A server does not start with two policies that clients could not tell apart."""
    store = PolicyStore(lambda path, device: ToyPolicy(), ["x", "y"], "cpu")
    with pytest.raises(ConfigError, match="named toy"):
        store.load()


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "toy/../../x",
        "/etc/passwd",
        "~/x",
        "https://host/x",
        "hf://a/b",
        "..\\x",
        "\0",
        "hub/model",
        "a%2fb",
    ],
)
def test_a_path_or_address_is_never_opened_for_a_client(name: str) -> None:
    """A client that names a path or an address is denied, and nothing is loaded."""
    loads: list[str] = []
    policy = ToyPolicy()
    store = PolicyStore(lambda path, device: loads.append(path) or policy, ["toy"], "cpu")
    store.load()
    with pytest.raises(Refused) as refused:
        store.resolve(name)
    assert refused.value.status is Status.PERMISSION_DENIED
    assert loads == ["toy"]


@pytest.mark.parametrize("name", ["builtin:other", "belt2", "Toy"])
def test_a_name_that_is_not_offered_is_refused_with_those_that_are(name: str) -> None:
    """A client that names a policy not offered is told which are."""
    store = PolicyStore.of(ToyPolicy())
    store.load()
    with pytest.raises(Refused, match="server offers toy") as refused:
        store.resolve(name)
    assert refused.value.refusal.reason is Reason.POLICY_UNKNOWN


class Folder:
    """A root with policies that are files in name only, and a store that notes what it loads."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"
        (self.root / "team").mkdir(parents=True)
        for name in ("belt2.safetensors", "team/belt.safetensors", "broken.safetensors"):
            (self.root / name).write_bytes(b"x")
        (tmp_path / "outside.safetensors").write_bytes(b"x")
        self.loads: list[str] = []
        self.store = PolicyStore(self._load, ["toy"], "cpu", [self.root])
        self.store.load()

    def _load(self, path: str, device: str) -> ToyPolicy:
        self.loads.append(path)
        if "broken" in path:
            raise ConfigError(f"{path}: not a\npolicy")
        return ToyPolicy()

    def reason(self, name: str) -> Reason:
        with pytest.raises(Refused) as refused:
            self.store.resolve(name)
        assert str(self.root) not in str(refused.value)
        return refused.value.refusal.reason


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A root with policies."""
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [("belt2", "belt2.safetensors"), ("team/belt", "team/belt.safetensors"), ("team", "team")],
)
def test_a_policy_below_a_root_is_loaded_by_the_handshake(folder: Folder, name: str, file: str) -> None:
    """A name below a root is answered NOT_READY until the policy's thread loaded it, then served as such."""
    assert folder.reason(name) is folder.reason(name) is Reason.NOT_READY
    assert folder.store.wanted
    assert folder.store.load_one() == name
    assert not folder.store.wanted
    assert folder.loads == ["toy", str(folder.root / file)]
    assert folder.store.resolve(name).name == name
    assert folder.store.resolve("").name == "toy"
    assert [spec.name for spec in folder.store.specs()] == ["toy", name]
    assert folder.store.policy(name).spec.warm_inference_ns > 0


def test_a_link_that_leads_out_of_a_root_is_never_opened(folder: Folder) -> None:
    """A link to a file, a folder, or a file in a folder beyond the root is denied, and nothing is loaded."""
    outside = folder.root.parent
    (folder.root / "file.safetensors").symlink_to(outside / "outside.safetensors")
    (folder.root / "out").symlink_to(outside)
    (folder.root / "team2").mkdir()
    (folder.root / "team2/x.safetensors").symlink_to(outside / "outside.safetensors")
    (folder.root / "inside").symlink_to(folder.root / "team")
    for name in ("file", "out", "out/outside", "team2"):
        assert folder.reason(name) is Reason.FORBIDDEN
    assert folder.reason("inside") is Reason.NOT_READY
    assert folder.loads == ["toy"]


def test_a_policy_that_cannot_be_loaded_is_tried_again_only_when_its_file_changes(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken file costs one attempt and one line of log, and a repaired one is loaded."""
    assert folder.reason("broken") is Reason.NOT_READY
    assert folder.store.load_one() is None
    assert len(caplog.records) == 1
    assert "\n" not in caplog.records[0].getMessage()
    assert folder.reason("broken") is Reason.POLICY_UNKNOWN
    assert not folder.store.wanted
    (folder.root / "broken.safetensors").write_bytes(b"another")
    assert folder.reason("broken") is Reason.NOT_READY


def test_clients_cannot_have_any_number_of_policies_loaded(folder: Folder) -> None:
    """Beyond the bound a client is refused RESOURCE_EXHAUSTED, and what is loaded stays."""
    for k in range(MAX_NAMED + 1):
        (folder.root / f"p{k}.safetensors").write_bytes(b"x")
    for k in range(MAX_NAMED):
        assert folder.reason(f"p{k}") is Reason.NOT_READY
        folder.store.load_one()
    assert folder.reason(f"p{MAX_NAMED}") is Reason.FULL
    assert folder.store.resolve("p0").name == "p0"


def test_those_that_are_still_to_be_loaded_count_as_well(folder: Folder) -> None:
    """As many as the bound may be named before any of them is loaded; the next is refused, then and later."""
    for k in range(MAX_NAMED + 1):
        (folder.root / f"p{k}.safetensors").write_bytes(b"x")
    for k in range(MAX_NAMED):
        assert folder.reason(f"p{k}") is Reason.NOT_READY
    assert folder.reason(f"p{MAX_NAMED}") is Reason.FULL
    assert folder.reason("p0") is Reason.NOT_READY
    assert [folder.store.load_one() for _ in range(MAX_NAMED + 1)] == ["p0", "p1", "p2", "p3", None]
    assert folder.reason(f"p{MAX_NAMED}") is Reason.FULL


def test_a_root_that_is_no_folder_stops_the_start(tmp_path: Path) -> None:
    """A root that does not exist is refused by its key when the server starts."""
    store = PolicyStore(lambda path, device: ToyPolicy(), ["toy"], "cpu", [tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match=r"policy\.roots"):
        store.load()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"history_steps": 65}, "policy.history_steps: 65 is outside 0..64"),
        ({"action_hz": 5000.0}, "policy.action_hz: 5000.0 is outside 0.01..1000.0"),
        ({"horizon": 2**70}, "cannot be put into a message"),
        ({"policy_hash": ""}, "policy.policy_hash: empty"),
    ],
)
def test_a_policy_that_no_robot_would_take_is_refused_at_start(changes: dict[str, object], says: str) -> None:
    """A server does not wait for robots that would all turn away, and says what they would not take."""
    store = PolicyStore(lambda path, device: ToyPolicy(replace(SPEC, **changes)), ["toy"], "cpu")
    with pytest.raises(ConfigError, match="no robot would take this policy") as refused:
        store.load()
    assert says in str(refused.value)


def test_a_policy_that_no_robot_would_take_is_not_loaded_for_a_client(tmp_path: Path) -> None:
    """What a client names is held against the same bounds, and refused until its file changes."""
    (tmp_path / "long.safetensors").write_bytes(b"x")
    odd = ToyPolicy(replace(SPEC, horizon=5000))
    store = PolicyStore(
        lambda path, device: ToyPolicy() if path == "toy" else odd, ["toy"], "cpu", [tmp_path]
    )
    store.load()
    with pytest.raises(Refused, match="being loaded"):
        store.resolve("long")
    assert store.load_one() is None
    with pytest.raises(Refused, match="cannot be loaded"):
        store.resolve("long")
