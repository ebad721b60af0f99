"""What may stand in a configuration, read from the types of its sections, to explain what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, inspect

LARGEST = 1e30  # number in a configuration: torch computes in float32


def unknown_keys(tree: Any, section: type[Struct]) -> list[str]:
    """Return all keys that a section and its parts do not have, each as "key.key".

    Args:
        tree: a parsed file, which may also have values of wrong types.
        section: the type that it will be converted to.
    """
    return list(_unknown(tree, [inspect.type_info(section)], ""))


def vast_numbers(tree: Any, place: str = "") -> list[str]:
    """Return all numbers of a parsed file that are above `LARGEST` or not a number, each as "key.key is inf"."""
    if isinstance(tree, dict):
        return [found for key, inner in tree.items() for found in vast_numbers(inner, f"{place}.{key}")]
    if isinstance(tree, list):
        return [found for inner in tree for found in vast_numbers(inner, place)]
    return [f"{place[1:]} is {tree}"] if isinstance(tree, float) and not abs(tree) <= LARGEST else []


def choices(message: str, section: type[Struct]) -> list[str]:
    """Return what may stand in the place where msgspec found an unknown word; empty if the message is of another kind.

    Args:
        message: of msgspec, for example "Invalid enum value 'SGD' - at `$.train.optim_g.type`".
        section: the type that was converted to.
    """
    found = re.fullmatch(r"Invalid (?:enum )?value '.*' - at `\$(.*)`", message)
    kinds: list[inspect.Type] = [inspect.type_info(section)] if found else []
    for place in re.findall(r"\w+", found[1]) if found else ():
        inner: list[inspect.Type] = []
        for kind in kinds:
            match kind:
                case inspect.StructType(tag_field=field, tag=tag) if field == place:
                    inner.append(inspect.LiteralType((tag,)))
                case inspect.StructType(fields=fields):
                    inner += [field.type for field in fields if field.encode_name == place]
                case inspect.VarTupleType(item_type=item):
                    inner.append(item)
        kinds = list(_alternatives(inner))
    return [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]


def _unknown(tree: Any, kinds: Iterable[inspect.Type], place: str) -> Iterator[str]:
    kinds = list(_alternatives(kinds))
    if isinstance(tree, list):
        items = [kind.item_type for kind in kinds if isinstance(kind, inspect.VarTupleType)]
        for item in tree:
            yield from _unknown(item, items, place)
    sections = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
    if not isinstance(tree, dict) or not sections:
        return
    chosen = [kind for kind in sections if kind.tag_field is None or tree.get(kind.tag_field) in (None, kind.tag)]
    known: dict[str, list[inspect.Type]] = {kind.tag_field: [] for kind in chosen if kind.tag_field}
    for kind in chosen:
        for field in kind.fields:
            known.setdefault(field.encode_name, []).append(field.type)
    for key, inner in tree.items():
        if key in known:
            yield from _unknown(inner, known[key], f"{place}{key}.")
        elif chosen:  # with an unknown tag, nobody knows what its keys may be
            yield f"{place}{key}"


def _alternatives(kinds: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    """Yield types without their annotations, and instead of a union the types in it."""
    for kind in kinds:
        match kind:
            case inspect.Metadata(type=inner):
                yield from _alternatives([inner])
            case inspect.UnionType(types=types):
                yield from _alternatives(types)
            case _:
                yield kind
