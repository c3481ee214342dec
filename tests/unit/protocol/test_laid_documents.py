"""Documents that are decoded when they are first looked at are held to the same as those that are decoded at once."""

from __future__ import annotations

import pytest

from stronghold_cli.protocol.documents.agent import Agent
from stronghold_cli.protocol.documents.leaves import DocumentLeaf, document_key
from stronghold_cli.protocol.errors import IntegrityError, MalformedError
from stronghold_cli.protocol.laid_documents import Deferred, LaidDocuments, payloads_of
from tests.support.org import TestOrg, workshop


@pytest.fixture(scope="module")
def org() -> TestOrg:
    return workshop()


@pytest.fixture
def bot(org: TestOrg) -> Agent:
    return next(agent for agent in org.state.agents.values() if agent.name == "bot")


def laid(agent: Agent, *, org_id: bytes, key: bytes | None = None, name: str | None = None) -> LaidDocuments:
    """The agents of a state with this one alone, to be decoded later; its leaf, or the org, may be another's."""
    leaf = DocumentLeaf(name=agent.name if name is None else name, sha256=agent.sha256)
    documents = LaidDocuments(None, org_id)
    documents.lay({key or document_key("agent", agent.id): leaf.encode()}, [agent.payload], defer_agents=True)
    return documents


def test_a_document_put_off_is_what_it_would_have_been(org: TestOrg, bot: Agent) -> None:
    agents = laid(bot, org_id=org.state.org_id).by_kind["agent"]
    assert isinstance(agents, Deferred)
    assert agents == {bot.id: bot}
    assert agents[bot.id] is agents[bot.id]


def test_its_name_id_and_org_are_looked_at_when_it_is(org: TestOrg, bot: Agent) -> None:
    another = bytes(16)
    for documents, id_, words in (
        (laid(bot, org_id=org.state.org_id, name="bat"), bot.id, "id or name"),
        (laid(bot, org_id=org.state.org_id, key=document_key("agent", another)), another, "id or name"),
        (laid(bot, org_id=bytes(32)), bot.id, "another org"),
    ):
        with pytest.raises(IntegrityError, match=words):
            documents.by_kind["agent"][id_]


def test_its_form_is_looked_at_when_it_is(org: TestOrg, bot: Agent) -> None:
    agents: Deferred[Agent] = Deferred(lambda id_, payload, leaf: Agent.decode(payload))
    agents.defer(bot.id, b"{}", DocumentLeaf(name="bot", sha256=bot.sha256))
    assert len(agents) == 1
    with pytest.raises(MalformedError):
        agents[bot.id]


def test_its_payload_must_be_there_at_once(org: TestOrg, bot: Agent) -> None:
    leaf = DocumentLeaf(name="bot", sha256=bot.sha256).encode()
    with pytest.raises(IntegrityError, match="payload"):
        LaidDocuments(None, org.state.org_id).lay({document_key("agent", bot.id): leaf}, [], defer_agents=True)


def test_a_copy_changes_alone_and_shares_what_was_decoded(org: TestOrg, bot: Agent) -> None:
    decoded = 0

    def decode(id_: bytes, payload: bytes, leaf: DocumentLeaf) -> Agent:
        nonlocal decoded
        decoded += 1
        return Agent.decode(payload)

    first: Deferred[Agent] = Deferred(decode)
    first.defer(bot.id, bot.payload, DocumentLeaf(name="bot", sha256=bot.sha256))
    second = first.copy()
    assert list(payloads_of(second)) == [bot.payload]
    assert decoded == 0
    assert second[bot.id] is first[bot.id]
    assert decoded == 1
    second[bot.id] = bot.replace(name="renamed")
    assert (first[bot.id].name, second[bot.id].name) == ("bot", "renamed")
    del second[bot.id]
    assert (bot.id in first, bot.id in second, len(first), len(second)) == (True, False, 1, 0)
