"""Markdown of docs/ as tests read it: anchors of headings, links, blocks of code."""

from __future__ import annotations

import re


def anchors(text: str) -> list[str]:
    """Of every heading, as renderers make them: lower case, no punctuation, dashes for spaces."""
    headings = re.findall(r"^#+ (.*)$", _without_code(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]


def links(text: str) -> list[str]:
    """The targets of [links](target)."""
    return re.findall(r"\]\(([^)\s]+)\)", _without_code(text))


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
