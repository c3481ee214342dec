"""Generated histories and answers for ``model``: genuine ones of other times, profiles, agents and orgs, and forged ones.

A ``World`` is a genuine history of an org, made step by step as its rules allow. ``genuine`` is what an honest server
answers at one of its states; what a server makes of that, alone and with key holders, stands in ``model_forgeries``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.evil.model import (
    ROOT,
    Agent,
    Answer,
    Box,
    Contents,
    Entry,
    Grant,
    Group,
    Head,
    Holder,
    Mark,
    Member,
    Org,
    Profile,
    Signed,
    Structure,
    Token,
)

PEOPLE = ("ada", "zoe", "eve", "ned", "rob", "mallory")
PROFILES = ("production", "staging")
GROUP = "pipelines"


class State:
    """One state of a history: the signed documents that are current."""

    def __init__(self, org: tuple[Signed, ...], head: Signed, structure: Signed, contents: dict[str, Signed]) -> None:
        self.org = org
        self.head = head
        self.structure = structure
        self.contents = contents

    def one(self, kind: type, name: str) -> Any:
        """A document of the structure by its id."""
        documents = self.structure.document.documents
        return next(each for each in documents if isinstance(each, kind) and getattr(each, "id", each.name) == name)


class World:
    """An org's history, and the tokens that were minted in it."""

    def __init__(self, of: str, dice: random.Random, steps: int) -> None:
        self.of = of
        self.dice = dice
        self.states: list[State] = []
        self.holders: list[Holder] = []
        self.keys = 0
        self._found()
        acts: list[Callable[[State], State]] = [
            self.write, self.write, self.write, self.rekey, self.mint, self.promote, self.demote, self.edit_org,
            self.list_editors,
        ]  # fmt: skip
        for _ in range(steps):
            dice.choice(acts)(self.states[-1])

    # Genuine steps.

    def _found(self) -> None:
        people = (("ada", "admin"), ("zoe", "admin"), ("eve", "editor"), ("rob", "reader"))
        org = Signed(Org(self.of, 1, None, f"root of {self.of}", people), ROOT, f"root of {self.of}")
        gk, documents, contents = self._key(), set[Any](), {}
        for id_ in PROFILES:
            pk = self._key()
            wrap = Box("wrap", gk, (self.of, id_, 1, GROUP, 1), pk)
            documents.add(Profile(self.of, id_, id_, 1, pk, ("eve",), (Grant(GROUP, 1, wrap),)))
            entries = frozenset(self._entry(id_, 1, pk, f"s{each}", 1, f"NAME_{each}") for each in range(2))
            contents[id_] = Signed(Contents(self.of, id_, 1, 1, 1, entries), "ada", "ada")
        documents |= {Group(self.of, GROUP, 1, gk, ()), Agent(self.of, "deploy", (GROUP,), ())}
        structure = Signed(Structure(self.of, 1, frozenset(documents)), "ada", "ada")
        self._add((org,), structure, contents, "ada", 1)
        self.mint(self.states[-1])

    def write(self, state: State) -> None:
        """A new version, a new secret or a deletion, by an admin or an editor who may."""
        profile: Profile = state.one(Profile, self.dice.choice(PROFILES))
        org: Org = state.org[-1].document
        author = self.dice.choice([n for n, role in org.people if role == "admin" or n in profile.editors])
        known: Contents = state.contents[profile.id].document
        by_secret = {each.secret: each for each in known.entries}
        secret = self.dice.choice([*sorted(by_secret), f"s{len(by_secret)}"])
        version = by_secret[secret].version + 1 if secret in by_secret else 1
        entry = self._entry(profile.id, profile.epoch, profile.key, secret, version, f"NAME_{secret[1:]}")
        if version > 2 and self.dice.random() < 0.3:
            entry = replace(entry, box=None)
        entries = frozenset({**by_secret, secret: entry}.values())
        seq = state.head.document.seq + 1
        contents = Signed(replace(known, seq=seq, version=known.version + 1, entries=entries), author, author)
        self._add(state.org, state.structure, {**state.contents, profile.id: contents}, author, seq)

    def rekey(self, state: State, org: tuple[Signed, ...] | None = None) -> None:
        """New epochs of the group and its profiles, every live secret boxed anew."""
        author, seq = "ada", state.head.document.seq + 1
        group: Group = state.one(Group, GROUP)
        gk, epoch = self._key(), group.epoch + 1
        members = tuple(
            replace(each, seal=Box("seal", each.seal_key, (self.of, GROUP, epoch, each.token), gk)) for each in group.members
        )
        documents = {each for each in state.structure.document.documents if isinstance(each, Agent)}
        documents.add(replace(group, epoch=epoch, key=gk, members=members))
        contents = {}
        for id_ in PROFILES:
            profile: Profile = state.one(Profile, id_)
            pk = self._key()
            wrap = Box("wrap", gk, (self.of, id_, profile.epoch + 1, GROUP, epoch), pk)
            editors = tuple(n for n in profile.editors if (org or state.org)[-1].document.role(n) == "editor")
            documents.add(
                replace(profile, epoch=profile.epoch + 1, key=pk, editors=editors, grants=(Grant(GROUP, epoch, wrap),))
            )
            known: Contents = state.contents[id_].document
            entries = frozenset(
                each if each.box is None else replace(each, epoch=profile.epoch + 1, box=Box(
                    "secret", pk, (self.of, id_, profile.epoch + 1, each.secret, each.version), each.box.inside))
                for each in known.entries
            )  # fmt: skip
            contents[id_] = Signed(
                replace(known, seq=seq, version=known.version + 1, epoch=profile.epoch + 1, entries=entries), author, author
            )
        structure = Signed(Structure(self.of, seq, frozenset(documents)), author, author)
        self._add(org or state.org, structure, contents, author, seq)

    def mint(self, state: State) -> None:
        """A further token of the agent, in its group."""
        seq = state.head.document.seq + 1
        name = f"t{len(self.holders)} of {self.of}"
        agent: Agent = state.one(Agent, "deploy")
        group: Group = state.one(Group, GROUP)
        seal = Box("seal", name, (self.of, GROUP, group.epoch, name), group.key)
        group_after = replace(group, members=(*group.members, Member(name, "deploy", name, seal)))
        agent_after = replace(agent, tokens=(*agent.tokens, Token(name, name, name)))
        documents = (state.structure.document.documents - {agent, group}) | {agent_after, group_after}
        self.holders.append(Holder(name, state.org[-1].document, seq, name))
        self._add(state.org, Signed(Structure(self.of, seq, documents), "ada", "ada"), state.contents, "ada", seq)

    def promote(self, state: State) -> None:
        """Somebody new, or with a higher role."""
        org: Org = state.org[-1].document
        people = dict(org.people)
        people[self.dice.choice(("zoe", "ned", "rob"))] = self.dice.choice(("admin", "editor"))
        self._change_people(state, people)

    def demote(self, state: State) -> None:
        """Somebody with no or a lower role, with new keys and signatures made anew."""
        people = dict(state.org[-1].document.people)
        name = self.dice.choice([each for each in people if each != "ada"] or ["ada"])
        if name != "ada":
            people[name] = "reader"
            if self.dice.random() < 0.5:
                del people[name]
            self._change_people(state, people)

    def _change_people(self, state: State, people: dict[str, str]) -> None:
        known: Org = state.org[-1].document
        org = replace(known, seq=known.seq + 1, prev=known, people=tuple(sorted(people.items())))
        self.rekey(state, (*state.org, Signed(org, "ada", "ada")))

    def edit_org(self, state: State) -> None:
        """By an admin, or by root, who may also change itself."""
        known: Org = state.org[-1].document
        changes = self.dice.choice([{"max_age": 3600}, {"max_age": 0}, {"root": f"root {len(self.states)}"}, {"resume": 1}])
        org = replace(known, seq=known.seq + 1, prev=known, **changes)
        by_root = "root" in changes or "resume" in changes
        link = Signed(org, ROOT, known.root) if by_root else Signed(org, "ada", "ada")
        seq = state.head.document.seq + 1
        self._add((*state.org, link), state.structure, state.contents, "ada", seq)

    def list_editors(self, state: State) -> None:
        """Other editors of a profile; contents that lose their signer are signed anew."""
        seq, org = state.head.document.seq + 1, state.org[-1].document
        profile: Profile = state.one(Profile, self.dice.choice(PROFILES))
        editors = tuple(n for n, role in org.people if role == "editor" and self.dice.random() < 0.5)
        documents = (state.structure.document.documents - {profile}) | {replace(profile, editors=editors)}
        contents = dict(state.contents)
        signed = contents[profile.id]
        if org.role(signed.claims) != "admin" and signed.claims not in editors:
            contents[profile.id] = Signed(signed.document, "ada", "ada")
        self._add(state.org, Signed(Structure(self.of, seq, documents), "ada", "ada"), contents, "ada", seq)

    def _add(self, org: tuple[Signed, ...], structure: Signed, contents: dict[str, Signed], author: str, seq: int) -> None:
        documents = frozenset(each.document for each in contents.values())
        head = Head(self.of, seq, org[-1].document, structure.document, documents, seq)
        self.states.append(State(org, Signed(head, author, author), structure, contents))

    def _entry(self, profile: str, epoch: int, key: str, secret: str, version: int, name: str) -> Entry:
        inside = (name, f"{profile} {secret} {version} {self._key()}")
        return Entry(secret, version, epoch, Box("secret", key, (self.of, profile, epoch, secret, version), inside))

    def _key(self) -> str:
        self.keys += 1
        return f"key {self.keys} of {self.of}"

    # Answers.

    def genuine(self, state: State, holder: Holder, profile: str, start: Org | None) -> Answer | None:
        """What an honest server says; ``None`` where the token is not known in this state."""
        agent: Agent = state.one(Agent, "deploy")
        group: Group = state.one(Group, GROUP)
        member = next((each for each in group.members if each.token == holder.name), None)
        if member is None:
            return None
        links = [link for link in state.org if link.document.seq >= (start.seq if start else 1)] or [state.org[-1]]
        asked: Profile = state.one(Profile, profile)
        structure: Structure = state.structure.document
        contents = state.contents[profile]
        return Answer(
            org=tuple(links),
            head=state.head,
            structure=state.structure,
            agent=agent,
            profile=asked,
            group=group,
            proofs=(structure, structure, structure),
            member=member,
            member_of=group,
            share=holder.name,
            seal=member.seal,
            wrap=asked.grants[0].wrap,
            contents=contents,
            contents_of=state.head.document,
            entries=tuple(sorted(((e, e.box) for e in contents.document.entries), key=lambda pair: pair[0].secret)),
        )

    def mark(self, state: State, profiles: tuple[str, ...]) -> Mark:
        """What a party remembers that has read these profiles at a state."""
        head: Head = state.head.document
        return Mark(head.org, head, head.structure.seq, tuple(state.contents[each].document for each in profiles))
