"""The docs' table of settings, made from their declarations."""

from __future__ import annotations

from limbeck.settings.export_settings import ExportSettings
from limbeck.settings.job_configs import METHODS, SearchConfig, TrainJobConfig
from limbeck.settings.setting import GROUPS, Declared, declared

HEAD = """# Settings

Made by `limbeck schema --table` from the declarations in `src/limbeck/settings/`. A key stands in a configuration file
or in `--set KEY=VALUE`; the last part of it is the argument in Python (`recipe.*` are those of `limbeck.TrainConfig`).
`teacher_recipe` has the keys of `recipe`.
"""


def settings_table() -> str:
    """Return every setting in Markdown, a table for each group: key, flag, values, default, methods, help."""
    kinds: dict[str, type] = {"train": TrainJobConfig, **METHODS, "search": SearchConfig}
    found: dict[str, dict[str, Declared]] = {}
    for name, kind in kinds.items():
        for one in declared(kind):
            if one.path[0] != "teacher_recipe":
                found.setdefault(one.key, {})[name] = one
    lines = [HEAD]
    for group in GROUPS:
        lines += [
            f"\n## {group.capitalize()}\n",
            "| key | flag | values | default | for | what it is |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(key, same, len(kinds)) for key, same in found.items() if _first(same).setting.group == group]
    lines += ["\n## limbeck export\n", "| argument | flag | values | default | what it is |", "|---|---|---|---|---|"]
    lines += [_row(one.key, {"export": one}, 1, has_methods=False) for one in declared(ExportSettings)]
    return "\n".join(lines) + "\n"


def _row(key: str, same: dict[str, Declared], num_kinds: int, *, has_methods: bool = True) -> str:
    one = _first(same)
    flags = ", ".join(f"`{flag}`" for flag in (one.flag, one.setting.short) if flag)
    choices = dict.fromkeys(choice for other in same.values() for choice in other.choices)
    values = ", ".join(choices) or " ".join(filter(None, (one.item.__name__, one.range_text)))
    defaults = {name: other.default_text for name, other in same.items()}
    text = next(iter(defaults.values())) if len(set(defaults.values())) == 1 else None
    default = text if text is not None else ", ".join(f"{name}: {value}" for name, value in defaults.items() if value)
    methods = "all" if len(same) == num_kinds else ", ".join(same)
    shown = f"`{key}`" if one.setting.is_key or not has_methods else ""
    kind = values + (" (several)" if one.is_repeated else "")
    cells = (shown, flags, kind, default, *([methods] if has_methods else []), one.setting.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _first(same: dict[str, Declared]) -> Declared:
    return next(iter(same.values()))
