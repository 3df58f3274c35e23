"""Docstrings for the site: LaTeX becomes MathML, and roles such as :func:`name` become code or links.

Loaded by mkdocstrings as an extension of griffe; a browser draws MathML without a script. Griffe reads the source and
does not run it, so what a decorator makes of a function is fetched here: signature and arguments of jobs.
"""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import re
from typing import Any

import griffe
from latex2mathml.converter import convert

BLOCK = re.compile(r"^([ ]*)\.\. math::[ ]?(.*)\n((?:\1[ ]+\S.*\n|[ ]*\n(?=\1[ ]+\S))*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`", re.DOTALL)
ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`~?([^`]+)`")
SECTION = re.compile(r"(?<=\S)\n(?=(?:Args|Returns|Raises|Examples|References):\n)")  # Google's style has blank lines
BRACKETS = re.compile(r"(?<=[\]}])\[(?=[^\]\n]*\])")  # [true][predicted] is no link of Markdown's
MAKES_ARGUMENTS = {"job", "arguments_documented"}  # decorators
KINDS = {
    inspect.Parameter.POSITIONAL_OR_KEYWORD: griffe.ParameterKind.positional_or_keyword,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
}


class Docstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed, and what decorators make."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        made = getattr(obj, "decorators", None) and _is_made(obj)
        if made:
            _take_made(obj)
        if obj.docstring is not None:
            obj.docstring.value = for_the_site(obj.docstring.value)
        if obj.is_attribute and "Annotated" in str(obj.annotation):
            obj.annotation = plain_type(str(obj.annotation))
        if obj.is_class:
            for one in obj.parameters:
                if "Annotated" in str(one.annotation):
                    one.annotation = plain_type(str(one.annotation))


def for_the_site(text: str) -> str:
    """Return a docstring as Markdown with formulas drawn.

    Example:
        >>> for_the_site("See :func:`fit`.")
        'See `fit`.'
        >>> for_the_site(".. math:: x\\n\\nText.").startswith('<div class="formula"><math')
        True
        >>> for_the_site("Text.\\nExample:\\n    >>> 1")
        'Text.\\n\\nExamples:\\n    >>> 1'
    """
    text = BLOCK.sub(lambda found: _block(found[1], found[2] + " " + found[3]), text + "\n").rstrip("\n")
    text = INLINE.sub(lambda found: convert(" ".join(found[1].split())), text)
    text = ROLE.sub(lambda found: f"`{found[1]}`", text)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    prose, examples, rest = SECTION.sub("\n\n", text).partition("\nExamples:\n")
    return BRACKETS.sub(r"\\[", prose) + examples + rest


def plain_type(annotation: str) -> str:
    """Return a type without what is annotated to it.

    Example:
        >>> plain_type("Annotated[Annotated[float, Gt(0)] | None, Setting('Largest.', 'training')]")
        'float | None'
    """
    return ast.unparse(_WithoutAnnotated().visit(ast.parse(annotation, mode="eval")))


class _WithoutAnnotated(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        is_annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        return node.slice.elts[0] if is_annotated and isinstance(node.slice, ast.Tuple) else node


def _is_made(obj: Any) -> bool:
    names = {decorator.callable_path.rpartition(".")[2] for decorator in obj.decorators}
    return bool(names & MAKES_ARGUMENTS)


def _take_made(obj: Any) -> None:
    """Give a function or class the docstring that it has at run time, a function its parameters, too."""
    made = getattr(importlib.import_module(obj.parent.path), obj.name)
    obj.docstring = griffe.Docstring(inspect.getdoc(made) or "", parent=obj, parser=griffe.Parser.google)
    if obj.is_function:
        obj.parameters = griffe.Parameters(*(_parameter(one) for one in inspect.signature(made).parameters.values()))


def _parameter(one: inspect.Parameter) -> griffe.Parameter:
    default = None if one.default is one.empty else repr(one.default).replace("<factory>", "...")
    return griffe.Parameter(one.name, annotation=plain_type(str(one.annotation)), kind=KINDS[one.kind], default=default)


def _block(indent: str, latex: str) -> str:
    formulas = [" ".join(part.split()) for part in latex.split("\\\\")]
    drawn = "".join(f'<div class="formula">{_drawn(formula)}</div>' for formula in formulas if formula)
    return f"{indent}{drawn}\n\n"


def _drawn(formula: str) -> str:
    return convert(formula, display="block").replace("\n", " ") or html.escape(formula)
