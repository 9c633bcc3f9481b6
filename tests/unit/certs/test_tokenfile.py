"""Join tokens as the stub keeps them: how often, how long, for whom."""

import json
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from certs.errors import CertificateProblem
from certs.files import locked_folder
from certs.lifetime import utc_now
from certs.tokenfile import KEPT, REPEAT_WINDOW, TOKENS, OtherCluster, TokenFile, TokenRefused
from certs.tokens import JoinToken, new_token

NOW = utc_now().replace(microsecond=0)
HOUR = timedelta(hours=1)
PIN = bytes(32)
UID = "uid-of-prod"


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path)


def create(file: TokenFile, uses: int = 1, cluster: str = "prod", *, rebind: bool = False) -> JoinToken:
    return file.create(cluster, PIN, HOUR, uses, NOW, rebind=rebind)[0]


def redeem(
    file: TokenFile, token: JoinToken, key: str = "key", uid: str = UID, after: timedelta = timedelta()
) -> str:
    return file.redeem(token, key, uid, NOW + after, lambda cluster: f"certificate of {cluster}")


def test_a_token_is_good_for_one_agent_of_its_cluster(file: TokenFile) -> None:
    token = create(file)
    assert redeem(file, token) == "certificate of prod"
    with pytest.raises(TokenRefused, match=f"the join token {token.id} was used already"):
        redeem(file, token, "another key")
    assert [record.used for record in file.records()] == [1]


def test_a_token_of_n_uses_is_good_for_n_agents(file: TokenFile) -> None:
    token = create(file, uses=3)
    for number in range(3):
        redeem(file, token, f"key {number}")
    with pytest.raises(TokenRefused, match="is used up"):
        redeem(file, token, "key 3")


def test_the_same_key_again_is_the_same_use_for_a_while(file: TokenFile) -> None:
    """The answer to the first try was lost: the agent has no certificate, and the token would be gone."""
    token = create(file)
    redeem(file, token)
    assert redeem(file, token, after=REPEAT_WINDOW - timedelta(seconds=1)) == "certificate of prod"
    assert [record.used for record in file.records()] == [1]
    with pytest.raises(TokenRefused, match="was used already"):
        redeem(file, token, after=REPEAT_WINDOW)


def test_a_repeated_use_is_refused_once_the_token_is_revoked(file: TokenFile) -> None:
    token = create(file)
    redeem(file, token)
    file.revoke(token.id, NOW)
    with pytest.raises(TokenRefused, match="was revoked on"):
        redeem(file, token)


def test_an_expired_token_is_refused_and_says_since_when(file: TokenFile) -> None:
    token = create(file)
    assert redeem(file, token, after=HOUR) == "certificate of prod"
    other = create(file)
    with pytest.raises(TokenRefused, match="expired 2 h ago"):
        redeem(file, other, after=3 * HOUR)


def test_a_token_that_is_not_known_or_whose_secret_is_wrong_gets_one_answer(file: TokenFile) -> None:
    token = create(file)
    reasons = []
    for wrong in (new_token(PIN), JoinToken(token.id, bytes(32), PIN)):
        with pytest.raises(TokenRefused) as raised:
            redeem(file, wrong)
        reasons.append(str(raised.value))
    assert reasons[0] == reasons[1]
    assert "not known here" in reasons[0]


def test_a_use_is_not_counted_where_nothing_is_signed(file: TokenFile) -> None:
    token = create(file)

    def fail(cluster: str) -> None:
        raise CertificateProblem("no")

    with pytest.raises(CertificateProblem):
        file.redeem(token, "key", UID, NOW, fail)
    assert [record.used for record in file.records()] == [0]


# Clusters --------------------------------------------------------------------------------------


def test_an_id_belongs_to_the_cluster_that_joined_first(file: TokenFile) -> None:
    token = create(file, uses=3)
    redeem(file, token)
    redeem(file, token, "second agent")
    with pytest.raises(OtherCluster, match=f"'prod' belongs to another cluster.*{UID} and not copy"):
        redeem(file, token, "third", uid="copy")
    assert redeem(file, create(file, cluster="lab"), uid="copy") == "certificate of lab"


def test_a_cluster_that_was_built_anew_takes_its_id_over_once(file: TokenFile) -> None:
    redeem(file, create(file))
    token = create(file, uses=3, rebind=True)
    redeem(file, token, "new", uid="rebuilt")
    with pytest.raises(OtherCluster):
        redeem(file, token, "old", uid=UID)
    file.check_uid("prod", "rebuilt", NOW)
    with pytest.raises(OtherCluster):
        file.check_uid("prod", UID, NOW)


def test_a_cluster_without_a_token_is_bound_by_its_first_renewal(file: TokenFile) -> None:
    file.check_uid("prod", UID, NOW)
    with pytest.raises(OtherCluster):
        redeem(file, create(file), uid="copy")


def test_a_renewal_of_a_bound_cluster_writes_nothing(file: TokenFile, tmp_path: Path) -> None:
    file.check_uid("prod", UID, NOW)
    before = (tmp_path / TOKENS).stat().st_ino
    file.check_uid("prod", UID, NOW)
    assert (tmp_path / TOKENS).stat().st_ino == before


# The file --------------------------------------------------------------------------------------


def test_the_file_holds_no_secret_and_is_its_owner_s(file: TokenFile, tmp_path: Path) -> None:
    token = create(file)
    content = (tmp_path / TOKENS).read_text()
    assert token.text.split(".")[2] not in content
    assert stat.S_IMODE((tmp_path / TOKENS).stat().st_mode) == 0o600


def test_what_one_process_writes_another_reads(file: TokenFile, tmp_path: Path) -> None:
    token = create(file, uses=2)
    redeem(file, token)
    other = TokenFile(tmp_path)
    assert other.records() == file.records()
    assert redeem(other, token, "second") == "certificate of prod"
    with pytest.raises(TokenRefused):
        redeem(file, token, "third")


def test_a_use_waits_for_whoever_writes_to_the_folder(file: TokenFile, tmp_path: Path) -> None:
    token = create(file)
    done = threading.Event()

    def use() -> None:
        redeem(file, token)
        done.set()

    thread = threading.Thread(target=use)
    with locked_folder(tmp_path):
        thread.start()
        assert not done.wait(0.05)
    thread.join(10)
    assert done.is_set()


def test_two_agents_at_the_same_moment_share_no_use(file: TokenFile) -> None:
    token = create(file)
    outcomes: list[str] = []

    def join(key: str) -> None:
        try:
            outcomes.append(redeem(file, token, key))
        except TokenRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=join, args=(f"key {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["certificate of prod", *["refused"] * 7]


def test_a_token_is_listed_for_a_week_behind_its_end(file: TokenFile) -> None:
    old = create(file)
    file.create("lab", PIN, HOUR, 1, NOW + HOUR + KEPT - timedelta(seconds=1))
    assert old.id in [record.id for record in file.records()]
    file.create("lab", PIN, HOUR, 1, NOW + HOUR + KEPT)
    assert old.id not in [record.id for record in file.records()]


def test_only_a_token_that_is_there_can_be_revoked(file: TokenFile) -> None:
    token = create(file)
    assert file.revoke(token.id, NOW).revoked == NOW
    assert file.revoke(token.id, NOW + HOUR).revoked == NOW
    with pytest.raises(CertificateProblem, match="there is no token 'x'"):
        file.revoke("x", NOW)


@pytest.mark.parametrize("text", ["", "[]", '{"tokens": [{}], "clusters": {}}', '{"tokens": []}'])
def test_a_broken_file_is_named_and_left_alone(file: TokenFile, tmp_path: Path, text: str) -> None:
    (tmp_path / TOKENS).write_text(text)
    with pytest.raises(CertificateProblem, match=f"{TOKENS}: is broken"):
        create(file)
    assert (tmp_path / TOKENS).read_text() == text


def test_a_record_with_an_impossible_cluster_is_broken(file: TokenFile, tmp_path: Path) -> None:
    create(file)
    content = json.loads((tmp_path / TOKENS).read_text())
    content["tokens"][0]["cluster"] = "../prod"
    (tmp_path / TOKENS).write_text(json.dumps(content))
    with pytest.raises(CertificateProblem, match="is broken"):
        file.records()
