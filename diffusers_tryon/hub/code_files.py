# Copyright 2026 The diffusers-tryon authors.
# SPDX-License-Identifier: Apache-2.0
"""Modules of this package written as a few files that import nothing of it, for programs that load code by files.

A file is made of whole modules, one after another, each word and comment of which stays as it is. Only the imports
change: those from outside of the package move to the head of the file, those within a file go, and those of another
file become relative. What that cannot express is refused, rather than written wrongly.
"""

import ast
import builtins
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


PACKAGE = "diffusers_tryon"
LICENCE = "# Copyright 2026 The diffusers-tryon authors.\n# SPDX-License-Identifier: Apache-2.0\n"

_LINE_LENGTH = 119
_RULE = f"# {'-' * 77}"
# What depends on where a module lies, or runs text as code.
_REFUSED_NAMES = {"__file__", "__path__", "__package__", "__spec__", "__import__", "import_module", "exec", "eval"}


@dataclass(frozen=True)
class FilePlan:
    """A file to write.

    Attributes:
        name (`str`): its name without ".py".
        head (`str`): the module whose code it is for, by its name within the package, "models.unet_parallel". The file
            holds it and all that it imports, apart from what is in the files before.
        may_know_its_place (`bool`): whether code in it may use `__file__`.
    """

    name: str
    head: str
    may_know_its_place: bool = False


@dataclass(frozen=True)
class _Import:
    """One name that an import statement binds: `import module as bound`, `from module import name as bound`."""

    module: str
    name: str | None
    bound: str

    def line(self) -> str:
        if self.name is None:
            return f"import {self.module}" + (f" as {self.bound}" if self.bound != self.module.split(".")[0] else "")
        return self.name + (f" as {self.bound}" if self.bound != self.name else "")


class _Module:
    """A module of the package, taken apart.

    Args:
        root (`Path`): the folder that the package lies in.
        name (`str`): its name within the package.
        left_out (`Iterable[str]`): names defined at its top that are not wanted.
    """

    def __init__(self, root: Path, name: str, left_out: Iterable[str]):
        self.name = name
        self.path = f"{PACKAGE}/{name.replace('.', '/')}.py"
        self.text = (root / self.path).read_text(encoding="utf-8")
        self.docstring: ast.stmt | None = None
        self.statements: list[ast.stmt] = []
        self._imports: list[_Import] = []
        self._removed: list[ast.stmt] = []
        missing = set(left_out)
        for number, statement in enumerate(ast.parse(self.text).body):
            names = set(_defined_names(statement))
            if number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                self.docstring = statement
            elif isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._removed.append(statement)
                self._imports += self._read_import(statement)
            elif _is_for_type_checkers(statement):
                self._removed.append(statement)
            elif names & missing:
                missing -= names
                self._removed.append(statement)
            else:
                self.statements.append(statement)
        if missing:
            raise self.refusal(f"it defines no {', '.join(sorted(missing))} to leave out")
        self._check()

    def refusal(self, reason: str, node: ast.AST | None = None) -> ValueError:
        place = self.path if node is None else f"{self.path}, line {node.lineno}"
        return ValueError(f"{place} cannot be written into a file with others: {reason}.")

    @cached_property
    def used_names(self) -> set[str]:
        return {node.id for node in self._nodes() if isinstance(node, ast.Name)}

    @cached_property
    def imports(self) -> list[_Import]:
        """What it imports and uses, within the package under names such as "diffusers_tryon.poses"."""
        return [item for item in self._imports if item.bound in self.used_names]

    @cached_property
    def package_imports(self) -> list[_Import]:
        return [item for item in self.imports if item.module.split(".")[0] == PACKAGE]

    @cached_property
    def defined_names(self) -> dict[str, str]:
        """The names that its statements bind, with the text of the statement."""
        return {name: self._segment(statement) for statement in self.statements for name in _defined_names(statement)}

    def body(self) -> str:
        """The text without licence, docstring and what was removed."""
        lines = self.text.splitlines()
        removed = [*self._removed, *([self.docstring] if self.docstring else [])]
        gone = {number for statement in removed for number in range(_first_line(statement), statement.end_lineno + 1)}
        if self.text.startswith(LICENCE):
            gone |= set(range(1, LICENCE.count("\n") + 1))
        kept = [line for number, line in enumerate(lines, start=1) if number not in gone]
        return _without_gaps(kept)

    def _segment(self, statement: ast.stmt) -> str:
        return "\n".join(self.text.splitlines()[_first_line(statement) - 1 : statement.end_lineno])

    def _nodes(self) -> Iterator[ast.AST]:
        return (node for statement in self.statements for node in ast.walk(statement))

    def _read_import(self, statement: ast.Import | ast.ImportFrom) -> list[_Import]:
        if isinstance(statement, ast.Import):
            if any(alias.name.split(".")[0] == PACKAGE for alias in statement.names):
                raise self.refusal("only `from ... import ...` can be followed within the package", statement)
            return [_Import(alias.name, None, alias.asname or alias.name.split(".")[0]) for alias in statement.names]
        module = statement.module or ""
        if statement.level:
            parents = f"{PACKAGE}.{self.name}".split(".")[: -statement.level]
            module = ".".join([*parents, module] if module else parents)
        if module == "__future__" or any(alias.name == "*" for alias in statement.names):
            raise self.refusal("imports from __future__ and of `*` cannot be moved", statement)
        return [_Import(module, alias.name, alias.asname or alias.name) for alias in statement.names]

    def _check(self) -> None:
        for node in self._nodes():
            if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == PACKAGE):
                raise self.refusal("it imports a module of the package inside of a statement", node)
            if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == PACKAGE for alias in node.names):
                raise self.refusal("it imports a module of the package inside of a statement", node)
        shadowing = sorted({*self.defined_names, *(item.bound for item in self.imports)} & set(dir(builtins)))
        if shadowing:
            raise self.refusal(f"there its {shadowing[0]} would take the place of Python's")
        removed = {line for item in self._removed for line in range(_first_line(item), item.end_lineno + 1)}
        kept = {line for item in self.statements for line in range(_first_line(item), item.end_lineno + 1)}
        if removed & kept:
            raise self.refusal(f"line {min(removed & kept)} holds an import and something else")
        imports = [item for item in self._removed if isinstance(item, (ast.Import, ast.ImportFrom, ast.If))]
        lines = {line for item in imports for line in range(item.lineno, item.end_lineno + 1)}
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT and token.start[0] in lines:
                raise self.refusal(f"the comment in line {token.start[0]} would be lost with the import there")

    def check_place(self) -> None:
        for node in self._nodes():
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
            if name in _REFUSED_NAMES:
                raise self.refusal(f"it uses `{name}`", node)


def write_files(
    root: Path,
    plans: list[FilePlan],
    version: str,
    left_out: Mapping[str, tuple[str, ...]],
    in_place_of: Mapping[str, str],
) -> dict[str, str]:
    """The texts of files, by their names without ".py".

    Args:
        root (`Path`): The folder that the package lies in.
        plans (`list[FilePlan]`): In an order in which files import only from those before them.
        version (`str`): Of the package, for the lines that say where a file comes from.
        left_out (`Mapping[str, tuple[str, ...]]`): Of modules, by their names within the package, what is defined
            there but not written.
        in_place_of (`Mapping[str, str]`): Modules that are not read, and those that are written in their place.

    Raises:
        ValueError: code that cannot be written so, with the module, the line and the reason.
    """
    modules: dict[str, _Module] = {}

    def closure(name: str, above: tuple[str, ...] = ()) -> list[str]:
        """A module and all that it imports of the package, each after what it imports itself."""
        if name in above:
            raise ValueError(f"Modules that import each other cannot be written: {' -> '.join((*above, name))}.")
        if name not in modules:
            modules[name] = _Module(root, in_place_of.get(name, name), left_out.get(name, ()))
        needed: dict[str, None] = {}
        for item in modules[name].package_imports:
            needed |= dict.fromkeys(closure(_within(item), (*above, name)))
        return [*needed, name]

    homes: dict[str, str] = {}
    texts = {}
    for plan in plans:
        new = [name for name in closure(plan.head) if name not in homes]
        homes |= dict.fromkeys(new, plan.name)
        own = [modules[name] for name in new]
        if not plan.may_know_its_place:
            for module in own:
                module.check_place()
        texts[plan.name] = _FileWriter(plan, own, homes, modules, in_place_of).text(version)
    return texts


class _FileWriter:
    """One file, with what is known of the others.

    Args:
        own (`list[_Module]`): its modules in their order.
        homes (`dict[str, str]`): the file of each module.
        modules (`dict[str, _Module]`): all that were read, under the names that others import them by.
    """

    def __init__(
        self,
        plan: FilePlan,
        own: list[_Module],
        homes: dict[str, str],
        modules: dict[str, _Module],
        in_place_of: Mapping[str, str],
    ):
        self.plan, self.own, self.homes, self.modules = plan, own, homes, modules
        self.replaced = {new: old for old, new in in_place_of.items()}

    def text(self, version: str) -> str:
        outside, others = self._imports()
        head = (
            f"{LICENCE}#\n# Written by `diffusers-tryon hub export-remote-code` of diffusers-tryon {version}. Everything "
            "below is as in the package,\n# but for the imports, which stand together here. Its modules:\n"
            + "".join(f"#   {self._title(module)}\n" for module in self.own)
        )
        blocks = [block for block in (*outside, _import_block(others)) if block]
        return "\n".join([head, *blocks, *(f"\n{self._section(module)}" for module in self.own)])

    def _section(self, module: _Module) -> str:
        docstring = ast.get_source_segment(module.text, module.docstring)
        return f"{_RULE}\n# {self._title(module)}\n{_RULE}\n{docstring}\n\n\n{module.body()}"

    def _title(self, module: _Module) -> str:
        if module.name not in self.replaced:
            return module.path
        return f"{module.path}, in place of {PACKAGE}/{self.replaced[module.name].replace('.', '/')}.py"

    def _imports(self) -> tuple[tuple[str, str], list[_Import]]:
        """The blocks of imports from the standard library and from other packages, and those from other files."""
        bound: dict[str, object] = {}
        for module in self.own:
            for name, text in module.defined_names.items():
                self._bind(bound, name, text, module)
        outside, others = set(), set()
        for module in self.own:
            for item in module.imports:
                if item.module.split(".")[0] != PACKAGE:
                    self._bind(bound, item.bound, item, module)
                    outside.add(item)
                    continue
                source = self.modules[_within(item)]
                if item.name not in source.defined_names:
                    raise module.refusal(f"{item.name} is not defined in {source.path}, where it is imported from")
                home = self.homes[_within(item)]
                if home != self.plan.name:
                    moved = _Import(f".{home}", item.name, item.bound)
                    self._bind(bound, item.bound, moved, module)
                    others.add(moved)
                elif item.bound != item.name:
                    raise module.refusal(f"`{item.name} as {item.bound}` is of the same file, where it has one name")
        standard = {item for item in outside if item.module.split(".")[0] in sys.stdlib_module_names}
        return (_import_block(standard), _import_block(outside - standard)), sorted(others, key=str)

    def _bind(self, bound: dict[str, object], name: str, meaning: object, module: _Module) -> None:
        # `import a.b` and `import a.c` bind the same `a`.
        if isinstance(meaning, _Import) and meaning.name is None and meaning.bound == meaning.module.split(".")[0]:
            meaning = meaning.bound
        if bound.setdefault(name, meaning) != meaning:
            raise module.refusal(f"another module in the same file means something else by `{name}`")


def _import_block(imports: Iterable[_Import]) -> str:
    """Import statements as isort would sort them."""
    plain = sorted(item.line() for item in imports if item.name is None)
    by_module: dict[str, list[str]] = {}
    for item in imports:
        if item.name is not None:
            by_module.setdefault(item.module, []).append(item.line())
    lines = sorted(plain, key=str.lower)
    for module, names in sorted(by_module.items(), key=lambda pair: pair[0].lower()):
        lines += [f"from {module} import {name}" for name in sorted(names) if " as " in name]
        names = sorted(
            (name for name in names if " as " not in name),
            key=lambda name: (not name.isupper(), not name[:1].isupper(), name),
        )
        if not names:
            continue
        line = f"from {module} import {', '.join(names)}"
        if len(line) > _LINE_LENGTH:
            line = f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _within(item: _Import) -> str:
    return item.module.removeprefix(f"{PACKAGE}.")


def _defined_names(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module binds, without those in the bodies of functions and classes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    names = []
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.alias):
            names.append(node.asname or node.name.split(".")[0])
    return names


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    is_asked = isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    return is_asked and all(isinstance(item, (ast.Import, ast.ImportFrom)) for item in statement.body)


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _without_gaps(lines: list[str]) -> str:
    """Lines as a text without blank ones at its ends, and with no more than two together inside."""
    text = "\n".join(lines).strip("\n") + "\n"
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text
