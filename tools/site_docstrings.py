"""Docstrings for the site: LaTeX becomes MathML, and roles such as :func:`name` become code or links.

Loaded by mkdocstrings as an extension of griffe; a browser draws MathML without a script.
"""

from __future__ import annotations

import html
import re
from typing import Any

import griffe
from latex2mathml.converter import convert

BLOCK = re.compile(r"^([ ]*)\.\. math::[ ]?(.*)\n((?:\1[ ]+\S.*\n|[ ]*\n(?=\1[ ]+\S))*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`", re.DOTALL)
ROLE = re.compile(r":(?:func|class|meth|mod|attr|data|exc):`~?([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = for_the_site(obj.docstring.value)


def for_the_site(text: str) -> str:
    """Return a docstring as Markdown with formulas drawn.

    Example:
        >>> for_the_site("See :func:`fit`.")
        'See `fit`.'
        >>> for_the_site(".. math:: x\\n\\nText.").startswith('<div class="formula"><math')
        True
    """
    text = BLOCK.sub(lambda found: _block(found[1], found[2] + " " + found[3]), text + "\n").rstrip("\n")
    text = INLINE.sub(lambda found: convert(" ".join(found[1].split())), text)
    return ROLE.sub(lambda found: f"`{found[1]}`", text)


def _block(indent: str, latex: str) -> str:
    formulas = [" ".join(part.split()) for part in latex.split("\\\\")]
    drawn = "".join(f'<div class="formula">{_drawn(formula)}</div>' for formula in formulas if formula)
    return f"{indent}{drawn}\n\n"


def _drawn(formula: str) -> str:
    return convert(formula, display="block").replace("\n", " ") or html.escape(formula)
