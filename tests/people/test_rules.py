"""The whole law: each role and verb, and what a token takes away."""

import pytest

from headway.people.rules import ROLES, SCOPES, VERBS, Who, allowed

P, Q = "p" * 32, "q" * 32
ADA = Who("u1", "ada")

LAW = {
    "viewer": {"view"},
    "expert": {"app"},
    "editor": {"view", "run", "edit", "deploy", "app"},
    "owner": {"view", "run", "edit", "deploy", "own", "app"},
    None: set(),
    "emperor": set(),
}


@pytest.mark.parametrize("role", LAW)
@pytest.mark.parametrize("verb", VERBS)
def test_role_allows_exactly_its_verbs(role: str | None, verb: str) -> None:
    assert allowed(ADA, verb, P, role) is (verb in LAW[role])


def test_the_table_names_every_role() -> None:
    assert set(ROLES) == set(LAW) - {None, "emperor"}


@pytest.mark.parametrize("verb", VERBS)
def test_admin_may_everything_everywhere(verb: str) -> None:
    root = Who("u0", "root", admin=True)
    assert allowed(root, verb, P, None)
    assert allowed(root, verb, None, None)


@pytest.mark.parametrize(
    ("verb", "expected"), [("view", True), ("edit", True), ("app", True), ("own", False), ("run", False)]
)
def test_outside_of_projects(verb: str, expected: bool) -> None:
    assert allowed(ADA, verb, None, None) is expected


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_token_narrows_its_person(scope: str, verb: str) -> None:
    token = Who("u1", "ada", kind="token", scopes=SCOPES[scope])
    assert allowed(token, verb, P, "owner") is (verb in SCOPES[scope])
    assert allowed(token, verb, P, "viewer") is (verb == "view")


@pytest.mark.parametrize("verb", VERBS)
def test_a_token_of_one_project_reaches_no_other_even_of_an_admin(verb: str) -> None:
    token = Who("u0", "root", admin=True, kind="token", project_id=P)
    assert allowed(token, verb, P, None)
    assert not allowed(token, verb, Q, "owner")
    assert not allowed(token, verb, None, None)


def test_a_runs_token_cannot_deploy_or_own() -> None:
    assert not SCOPES["run"] & {"deploy", "own"}


def test_an_unknown_verb_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown verb"):
        allowed(ADA, "fly", P, "owner")
