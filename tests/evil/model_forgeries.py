"""What a server makes of genuine answers together with key holders, for ``test_model``."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.evil.model import ROOT, Answer, Box, Entry, Org, Signed, place_of
from tests.evil.model_states import PEOPLE

Spoiler = Callable[[random.Random, Answer, Answer], Answer]
_PARTS = (
    ("org",), ("head",), ("structure",), ("agent",), ("profile",), ("group",), ("share",), ("seal",), ("wrap",),
    ("contents",), ("entries",), ("member",), ("contents", "entries"), ("contents", "contents_of", "entries"),
    ("head", "structure"), ("member", "member_of"), ("group", "member", "member_of", "seal"), ("org", "head"),
    ("profile", "wrap"), ("head", "structure", "proofs", "agent", "profile", "group", "member", "member_of", "seal", "wrap"),
    ("head", "contents_of"), ("structure", "proofs"), ("contents_of",), ("proofs",),
)  # fmt: skip


def transplant(dice: random.Random, answer: Answer, other: Answer) -> Answer:
    """Parts of another genuine answer: of another time, token, profile or org."""
    return replace(answer, **{name: getattr(other, name) for name in dice.choice(_PARTS)})


def mix_entries(dice: random.Random, answer: Answer, other: Answer) -> Answer:
    """Entries dropped, doubled, swapped, or of the other answer."""
    entries = list(answer.entries)
    how = dice.randrange(5)
    if how == 0 and entries:
        entries.pop(dice.randrange(len(entries)))
    elif how == 1 and entries:
        entries.append(dice.choice(entries))
    elif how == 2 and other.entries:
        entries.append(dice.choice(other.entries))
    elif how == 3 and len(entries) > 1:
        (one, first), (two, second), *rest = entries
        entries = [(one, second), (two, first), *rest]
    elif entries and other.entries:
        entries[0] = (entries[0][0], dice.choice(other.entries)[1])
    return replace(answer, entries=tuple(entries))


def sign_otherwise(dice: random.Random, answer: Answer, other: Answer) -> Answer:
    """Another key id, another key, or both: of a person, or of root."""
    part = dice.choice(("head", "structure", "contents"))
    signed: Signed = getattr(answer, part)
    who = dice.choice(PEOPLE)
    made = dice.choice((replace(signed, key=who), replace(signed, claims=who), replace(signed, claims=who, key=who)))
    if dice.random() < 0.1 and answer.org:
        made = replace(signed, claims=ROOT, key=dice.choice((who, answer.org[-1].document.root)))
    return replace(answer, **{part: made})


def bend_chain(dice: random.Random, answer: Answer, other: Answer) -> Answer:
    """Links dropped, doubled, of the other answer, or made by somebody, under a head that names the last of them."""
    links = list(answer.org)
    if not links:
        return answer
    last: Org = links[-1].document
    how = dice.randrange(4)
    if how == 0:
        links.pop(dice.randrange(len(links)))
    elif how == 1:
        links = [*links, *other.org[-1:]]
    else:
        changes: dict[str, Any] = dice.choice([
            {}, {}, {}, {"root": "root of mallory"}, {"resume": 7}, {"client_min": 0}, {"client_min": 2}, {"max_age": 60},
            {"people": (*((n, r) for n, r in last.people if n != "mallory"), ("mallory", "admin"))},
            {"crit": True}, {"of": "other"},
        ])  # fmt: skip
        step = dice.choice((1, 1, 1, 2, 5, 0))
        document = replace(last, seq=max(1, last.seq + step), prev=dice.choice((last, last, last, None)), **changes)
        who = dice.choice((*PEOPLE, "ada", "eve", "eve"))
        by_root = Signed(document, ROOT, dice.choice((last.root, last.root, "root of mallory")))
        links.append(by_root if dice.random() < 0.3 else Signed(document, who, dice.choice((who, who, who, "mallory"))))
    if not links:
        return replace(answer, org=())
    head = replace(answer.head, document=replace(answer.head.document, org=links[-1].document))
    answer = replace(answer, org=tuple(links), head=head)
    return replace(answer, contents_of=head.document)


def forge(dice: random.Random, answer: Answer, other: Answer) -> Answer:
    """A field changed, and everything above it hashed, proven and signed anew by people who give their keys for it."""
    forged = dice.choice((_forge_agent, _forge_profile, _forge_group, _forge_contents, _forge_top))(dice, answer, other)
    return _assemble(dice, answer, {**_own(answer), **forged})


def _own(answer: Answer) -> dict[str, Any]:
    return {
        "agent": answer.agent,
        "profile": answer.profile,
        "group": answer.group,
        "member": answer.member,
        "contents": answer.contents.document,
        "entries": answer.entries,
        "head": answer.head.document,
        "structure": answer.structure.document,
    }


def _forge_agent(dice: random.Random, answer: Answer, _: Answer) -> dict[str, Any]:
    agent = answer.agent
    token = dice.choice(agent.tokens)
    line = replace(token, **dice.choice([{"auth_key": "x"}, {"seal_key": "x"}, {"not_after": 2}, {"not_after": 10**6}]))
    tokens = tuple(line if each is token else each for each in agent.tokens)
    changes = [{"active": False}, {"tokens": tokens}, {"tokens": tokens}, {"groups": ()}, {"crit": True}, {"of": "other"}]
    return {"agent": replace(agent, **dice.choice(changes))}


def _forge_profile(dice: random.Random, answer: Answer, _: Answer) -> dict[str, Any]:
    profile = answer.profile
    grants = tuple(replace(each, epoch=each.epoch + 1) for each in profile.grants)
    changes: list[dict[str, Any]] = [
        {"name": "another"}, {"editors": PEOPLE[:3]}, {"key": "x"}, {"grants": ()}, {"grants": grants},
        {"epoch": profile.epoch + 1},        {"crit": True}, {"of": "other"},
    ]  # fmt: skip
    return {"profile": replace(profile, **dice.choice(changes))}


def _forge_group(dice: random.Random, answer: Answer, other: Answer) -> dict[str, Any]:
    group = answer.group
    if dice.random() < 0.5:
        changes: list[dict[str, Any]] = [
            {"key": "x"},
            {"epoch": group.epoch + 1},
            {"members": group.members[:1]},
            {"crit": True},
        ]
        return {"group": replace(group, **dice.choice(changes))}
    if dice.random() < 0.2:
        # Another sealing key for the token, wherever it stands; what is sealed to it is sealed to the true one.
        tokens = tuple(
            replace(each, seal_key="x") if each.name == answer.member.token else each for each in answer.agent.tokens
        )
        member = replace(answer.member, seal_key="x")
        members = tuple(member if each.token == member.token else each for each in group.members)
        return {
            "agent": replace(answer.agent, tokens=tokens),
            "group": replace(group, members=members),
            "member": member,
        }
    member = replace(answer.member, **dice.choice([{"owner": "x"}, {"seal_key": "x"}, {"seal": other.seal}]))
    members = tuple(member if each.token == member.token else each for each in group.members)
    return {"group": replace(group, members=members), "member": member}


def _forge_contents(dice: random.Random, answer: Answer, other: Answer) -> dict[str, Any]:
    contents = answer.contents.document
    if answer.entries and dice.random() < 0.6:
        entries, contents = _rewrite(dice, answer, other)
        return {"entries": entries, "contents": contents}
    version = max(1, contents.version + dice.choice((-1, 1, 5)))
    changes: list[dict[str, Any]] = [
        {"epoch": contents.epoch + 1}, {"crit": True}, {"profile": "x"}, {"version": version}, {"version": version},
        {"seq": contents.seq + 100},
    ]  # fmt: skip
    return {"contents": replace(contents, **dice.choice(changes))}


def _forge_top(dice: random.Random, answer: Answer, _: Answer) -> dict[str, Any]:
    """Numbers and dates of head and structure, a lockdown, and unknown ``crit``."""
    head, structure = answer.head.document, answer.structure.document
    if dice.random() < 0.5:
        seq = max(1, dice.choice((structure.seq - 1, structure.seq - 2, structure.seq // 2, 1, structure.seq + 5)))
        changes: list[dict[str, Any]] = [
            {"locked": ("deploy",)},
            {"crit": True},
            {"seq": seq},
            {"seq": seq},
            {"of": "other"},
        ]
        return {"structure": replace(structure, **dice.choice(changes))}
    seq = max(1, head.seq + dice.choice((-2, -1, 1, 2, 1 << 20)))
    created = max(-1000, head.created + dice.choice((-7200, 299, 301, 10_000)))
    return {
        "head": replace(
            head, **dice.choice([{"seq": seq}, {"seq": seq}, {"created": created}, {"crit": True}, {"of": "other"}])
        )
    }


def _rewrite(dice: random.Random, answer: Answer, other: Answer) -> tuple[tuple[tuple[Entry, Box | None], ...], Any]:
    """A secret with another box: of the attacker's making, of another place, under another name, or of another number."""
    (entry, _), *rest = answer.entries
    place = (answer.profile.of, answer.profile.id, answer.profile.epoch, entry.secret, entry.version)
    boxes: list[Box | None] = [
        Box("secret", answer.profile.key, place, ("FORGED", "of the attacker")),
        Box("secret", answer.profile.key, place, ("NAME_1", "of the attacker")),
        Box("secret", answer.profile.key, place, ("not legal", "of the attacker")),
        Box("secret", "x", place, ("FORGED", "of the attacker")),
        Box("secret", answer.profile.key, (*place[:-1], 99), ("FORGED", "of the attacker")),
        answer.wrap,
        *(each for _, each in other.entries if each is not None),
        None,
    ]
    changed = replace(entry, box=dice.choice(boxes), epoch=entry.epoch + dice.choice((0, 0, 0, 1)))
    entries = ((changed, changed.box), *rest)
    contents = answer.contents.document
    version = contents.version + dice.choice((0, 1, 1, 1))
    return entries, replace(contents, version=version, entries=frozenset(each for each, _ in entries))


def _assemble(dice: random.Random, answer: Answer, parts: dict[str, Any]) -> Answer:
    """Structure, contents and head of which all hashes fit, signed by whoever gives a key, mostly under new numbers."""
    author = dice.choice(("ada", "ada", "zoe", "eve", "rob", "mallory"))
    signs_head = dice.choice((author, "ada", "eve"))
    head, structure, contents = parts["head"], parts["structure"], parts["contents"]
    next_seq = head.seq + (head is answer.head.document and dice.random() < 0.8)
    profile, group = parts["profile"], parts["group"]
    changed = {place_of(each): each for each in (parts["agent"], profile, group)}
    documents = frozenset({**{place_of(each): each for each in structure.documents}, **changed}.values())
    signed_structure, signed_contents = answer.structure, answer.contents
    if documents != structure.documents or structure != answer.structure.document:
        seq = next_seq if structure.seq == answer.structure.document.seq else structure.seq
        signed_structure = Signed(replace(structure, seq=seq, documents=documents), author, author)
    if contents != answer.contents.document:
        seq = next_seq if contents.seq == answer.contents.document.seq else contents.seq
        signed_contents = Signed(replace(contents, seq=seq), author, author)
    kept = {place_of(each): each for each in head.contents}
    kept[place_of(signed_contents.document)] = signed_contents.document
    if contents.profile != profile.id and profile.id not in {each.profile for each in kept.values()}:
        kept[place_of(answer.contents.document)] = answer.contents.document
    head = replace(head, seq=next_seq, structure=signed_structure.document, contents=frozenset(kept.values()))
    structure = signed_structure.document
    return replace(
        answer,
        head=Signed(head, signs_head, signs_head),
        structure=signed_structure,
        agent=parts["agent"],
        profile=profile,
        group=group,
        proofs=(structure, structure, structure),
        member=parts["member"],
        member_of=group,
        contents=signed_contents,
        contents_of=head,
        entries=parts["entries"],
    )


SPOILERS: tuple[Spoiler, ...] = (transplant, transplant, mix_entries, sign_otherwise, bend_chain, forge, forge, forge)
