"""The pure parts: secrets, passwords, the brake on guessing, names."""

import pytest

from headway.errors import Unprocessable
from headway.people import passwords
from headway.people.credentials import csrf_for, digest, new_secret, same
from headway.people.names import browser, one_line, user_name
from headway.people.pages import safe_next
from headway.people.throttle import Throttle


def test_secrets_are_long_and_never_the_same() -> None:
    made = {new_secret("hw_") for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith("hw_") and len(one) == 46 for one in made)


def test_a_digest_does_not_hold_the_secret() -> None:
    secret = new_secret()
    assert secret not in digest(secret)
    assert len(digest(secret)) == 64
    assert digest("\ud800") != digest("x")  # what a stranger sends may be no text at all


def test_csrf_belongs_to_one_session() -> None:
    assert csrf_for("a") == csrf_for("a") != csrf_for("b")
    assert same(csrf_for("a"), csrf_for("a"))
    assert not same("é", csrf_for("a"))


def test_a_password_matches_itself_only() -> None:
    stored = passwords.hash_password("correct horse battery")
    assert stored.startswith("$argon2id$")
    assert passwords.matches(stored, "correct horse battery")
    assert not passwords.matches(stored, "correct horse batterY")
    assert not passwords.matches(stored, "x" * 5000)
    assert not passwords.matches("not a hash", "correct horse battery")


def test_a_stranger_costs_what_a_user_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Counting:
        def verify(self, stored: str, given: object) -> bool:
            asked.append(stored)
            return True

    monkeypatch.setattr(passwords, "_hasher", Counting())
    assert not passwords.matches(None, "anything")
    assert asked == [passwords._NOBODY]


@pytest.mark.parametrize("bad", ["", "short", "x" * 1025])
def test_a_password_has_a_sensible_length(bad: str) -> None:
    with pytest.raises(Unprocessable, match="10 to 1024"):
        passwords.hash_password(bad)


def test_the_brake_lets_ten_through_each_minute() -> None:
    brake = Throttle(10)
    assert [brake.take("ada", float(second)) for second in range(10)] == [0.0] * 10
    assert brake.take("ada", 10.0) == 50.0
    assert brake.take("bob", 10.0) == 0.0
    assert brake.take("ada", 60.0) == 0.0  # the first of the ten is a minute ago
    assert brake.take("ada", 60.5) == 0.5
    brake.forget("ada")
    assert brake.take("ada", 61.0) == 0.0


def test_the_brake_forgets_the_oldest_rather_than_grow() -> None:
    brake = Throttle(1, most_keys=3)
    for key in "abcd":
        assert brake.take(key, 0.0) == 0.0
    assert brake.take("d", 0.0) > 0
    assert brake.take("a", 0.0) == 0.0


@pytest.mark.parametrize("name", ["ada", "a", "ada.lovelace", "a-b_c", "0x", " Ada "])
def test_user_names(name: str) -> None:
    assert user_name(name) == name.strip().lower()


@pytest.mark.parametrize(
    "name", ["", " ", ".", "-a", "a-", "a b", "a/b", "<b>", "a\u202eb", "é", "x" * 65, "a\0b", "a\nb"]
)
def test_what_is_no_user_name(name: str) -> None:
    with pytest.raises(Unprocessable):
        user_name(name)


def test_a_name_for_display_keeps_letters_and_drops_tricks() -> None:
    assert one_line("  Ada\u202e \n Lovelace\0 ", "full_name") == "Ada Lovelace"
    assert one_line("田中 さくら", "full_name") == "田中 さくら"
    assert one_line("<script>", "full_name") == "<script>"  # escaped where it is shown, not changed here
    with pytest.raises(Unprocessable):
        one_line("x" * 121, "full_name")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/p/churn/runs?x=1", "/p/churn/runs?x=1"),
        ("/", "/"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("p/churn", "/"),
        ("/" + "x" * 3000, "/"),
        ("/\u202e", "/"),
    ],
)
def test_next_never_leads_away(target: str, expected: str) -> None:
    assert safe_next(target) == expected


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML) Chrome/142.0 Safari/537.36 Edg/142.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 (KHTML) Version/18 Safari/605",
            "Safari on macOS",
        ),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Mobile Safari/604", "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 300, "x" * 60),
        ("", "unknown"),
    ],
)
def test_browsers_as_people_know_them(agent: str, name: str) -> None:
    assert browser(agent) == name
