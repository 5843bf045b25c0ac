"""What the models accept at a place, read off their annotations.

The messages of the loader, the reference page and the commented examples all take it from here.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types as bounds
from pydantic import BaseModel, RootModel, Tag
from pydantic.fields import FieldInfo

from coursewarehub.model.problems import quoted
from coursewarehub.model.values import Expect

_T = TypeVar("_T")


@dataclass(frozen=True)
class Shape:
    """A type without its `Annotated` and `| None` wrappers, and the metadata they carried."""

    type: Any
    metadata: tuple[Any, ...] = ()

    @classmethod
    def of(cls, annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
        """Unwrap an annotation."""
        while True:
            if get_origin(annotation) is Annotated:
                metadata = (*metadata, *_flat(annotation.__metadata__))
                annotation = annotation.__origin__
            elif len(members := _members(annotation)) == 1:
                annotation = members[0]
            else:
                return cls(annotation, metadata)

    @classmethod
    def of_field(cls, field: FieldInfo) -> Shape:
        """Return the shape of a model's field."""
        return cls.of(field.annotation, tuple(field.metadata))

    @property
    def model(self) -> type[BaseModel] | None:
        """The model, when this is a mapping with known keys."""
        if isinstance(self.type, type) and issubclass(self.type, BaseModel):
            return None if self._is_root() else self.type
        return None

    @property
    def variants(self) -> dict[str, type[BaseModel]]:
        """The models of a union of mappings that a key tells apart, by its value; empty for anything else."""
        if self._is_root():
            return {}
        found: dict[str, type[BaseModel]] = {}
        for branch in self._branches():
            tag = branch.find(Tag)
            if tag is not None and branch.model is not None:
                found[tag.tag] = branch.model
            elif get_origin(branch.type) is not tuple:
                found |= branch.variants
        return found

    @property
    def item(self) -> Shape | None:
        """What the values of a mapping with keys of the user's choice must be."""
        return Shape.of(get_args(self.type)[1]) if get_origin(self.type) is dict else None

    @property
    def models(self) -> tuple[type[BaseModel], ...]:
        """The mappings with known keys that can stand here, or below a key of the user's choice."""
        if self.item is not None:
            return self.item.models
        return (self.model,) if self.model is not None else tuple(self.variants.values())

    def find(self, kind: type[_T]) -> _T | None:
        """Return the metadata of one kind."""
        return next((item for item in self.metadata if isinstance(item, kind)), None)

    def expected(self) -> str:
        """Finish the sentence "it must be ..."."""
        expect = self.find(Expect)
        if expect is not None:
            return expect.text
        if self.model is not None:
            return f"a mapping with keys such as {quoted(next(iter(self.model.model_fields)))}"
        if self._is_root():
            return next(self._branches()).expected()
        if self.variants:
            return f"a mapping with keys such as {quoted(next(iter(self.models[0].model_fields)))}"
        return _simple(self.type) or self._number()

    def step(self, segment: str | int) -> tuple[Shape, bool]:
        """Follow one segment of an error's location.

        Returns the shape there, and whether the segment is a key or index of the data (rather
        than the tag of a union's member).
        """
        if self._is_root():
            return Shape.of_field(self.type.model_fields["root"]).step(segment)
        if self.model is not None:
            field = self.model.model_fields.get(str(segment))
            return (Shape.of_field(field) if field else UNKNOWN), True
        if get_origin(self.type) is tuple:
            return Shape.of(get_args(self.type)[0]), True
        if self.item is not None:
            return self.item, True
        for branch in self._branches():
            if branch.is_tagged(segment):
                return branch, False
        return UNKNOWN, True

    def is_tagged(self, segment: str | int) -> bool:
        """Whether this member of a union is the one with the tag `segment`."""
        tag = self.find(Tag)
        if tag is not None and tag.tag == segment:
            return True
        return self.model is not None and telling_key(self.model, segment) is not None

    def _is_root(self) -> bool:
        return isinstance(self.type, type) and issubclass(self.type, RootModel)

    def _branches(self) -> Iterator[Shape]:
        annotation = self.type
        if self._is_root():
            annotation = annotation.model_fields["root"].annotation
        return map(Shape.of, _members(annotation))

    def _number(self) -> str:
        noun = "a whole number" if self.type is int else "a number"
        low, high = self.find(bounds.Ge), self.find(bounds.Le)
        if low is not None and high is not None:
            return f"{noun} from {low.ge} to {high.le}"
        return noun


UNKNOWN = Shape(None)


def _flat(metadata: tuple[Any, ...]) -> Iterator[Any]:
    """Yield metadata with what `Field(...)` stands for in its place."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) not in {Union, types.UnionType}:
        return []
    return [member for member in get_args(annotation) if member is not type(None)]


def _simple(kind: Any) -> str | None:
    if get_origin(kind) is Literal:
        return one_of(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return one_of([member.value for member in kind])
    return {bool: "`true` or `false`", str: "text"}.get(kind)


def one_of(values: Any) -> str:
    """Return "`a`" or "one of `a`, `b`"."""
    shown = ", ".join(quoted(str(value)) for value in values)
    return f"one of {shown}" if len(values) > 1 else shown


def telling_key(model: type[BaseModel], tag: str | int) -> str | None:
    """Return the key whose value `tag` tells a mapping apart from the others of its union."""
    fields = model.model_fields.items()
    return next(
        (name for name, f in fields if get_origin(f.annotation) is Literal and tag in get_args(f.annotation)), None
    )


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the mapping with known keys that a field holds; of several, the one of the default."""
    shape = Shape.of_field(field)
    return type(field.default) if shape.variants and isinstance(field.default, BaseModel) else shape.model


def default_value(model: type[BaseModel], name: str) -> Any:
    """Return a field's default as a file would say it (`15m` for 900 seconds)."""
    holder = model.model_construct(None, **{name: model.model_fields[name].default})
    return holder.model_dump(mode="json", include={name})[name]
