"""Pages for man(1), of the program and of each command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unireg_cli.manual.tree import OTHERWISE, Command, Flag

_NOTE = '.\\" Written by "python -m unireg_cli.manual docs" from the commands\' help: change it there.'
_ABOUT = (
    "unireg registers 3-D CT and MR images of any body region and writes the warped image and the transforms of both directions as ITK "
    "files. Each command has a page of its own."
)
_EXIT_CODES = {
    "0": "Done; never after an error.",
    "1": "Anything that is not listed here.",
    "2": "Usage: flags that are unknown or contradict each other, an output that exists.",
    "3": "Bad input: an image, header or transform file that cannot be used.",
    "4": "Network weights that are missing, damaged, changed or of another kind.",
    "5": "Not enough memory.",
    "6": "The quality gate --fail-on-folding.",
    "130, 143": "After Ctrl-C and SIGTERM.",
}
_ENVIRONMENT = {
    "UNIREG_WEIGHTS": "Weights to use where --weights is not given: a file, a name, or none.",
    "OMP_NUM_THREADS": "Threads to use where --threads is not given.",
    "SLURM_CPUS_PER_TASK": "The same, where OMP_NUM_THREADS is not set.",
}
# The backslash first, because the others bring one. Unescaped, a minus and quotes become those of typography.
_ESCAPES = {"\\": "\\e", "-": "\\-", "~": "\\(ti", "^": "\\(ha", "`": "\\(ga", "'": "\\(aq"}
_EXAMPLES = {
    "unireg demo": "Make a pair of CT-like torsos, register it, and print the result beside the truth.",
    "unireg register fixed.nii.gz moving.nii.gz -o out/case1_ --report": "Register two images, with a page to judge the result by.",
    "unireg warp labels.nii.gz -r fixed.nii.gz -t out/case1_Composite.h5 -n nearest -o labels_in_fixed.nii.gz": "Bring labels along.",
}


def program_page(commands: Sequence[Command]) -> str:
    """unireg(1)."""
    lines = [*_head("unireg", "registration of 3-D CT and MR images, written as ITK transforms")]
    lines += [".SH SYNOPSIS", ".B unireg", "COMMAND [OPTIONS] [WORDS]", ".br", ".B unireg \\-\\-version", ".br", ".B unireg \\-\\-help"]
    lines += [".SH DESCRIPTION", _text(_ABOUT), ".SH COMMANDS"]
    for one in commands:
        lines += [".TP", f".BR unireg\\-{one.name} (1)", _text(one.summary)]
    lines += [".SH OPTIONS", *_item("\\fB\\-\\-version\\fR", "Show versions and licences.")]
    lines += _item("\\fB\\-\\-install\\-completion\\fR", "Install completion for the current shell.")
    lines += _item("\\fB\\-\\-help\\fR, \\fB\\-h\\fR", "Show the help, of the program or of a command.")
    lines += [".SH EXAMPLES"]
    for words, meaning in _EXAMPLES.items():
        lines += [_text(meaning), ".PP", ".nf", ".RS", _text(words), ".RE", ".fi", ".PP"]
    lines += [*_listing("EXIT STATUS", _EXIT_CODES), *_listing("ENVIRONMENT", _ENVIRONMENT)]
    return _joined([*lines, *_see_also([f"unireg\\-{one.name}" for one in commands])])


def command_page(command: Command, commands: Iterable[Command]) -> str:
    """unireg-register(1) and its like."""
    summary = command.summary.rstrip(".")
    lines = [*_head(f"unireg-{command.name}", summary[0].lower() + summary[1:])]
    _, _, rest = command.usage.partition(f"unireg {command.name}")
    lines += [".SH SYNOPSIS", f".B unireg {command.name}", _text(rest.strip()), ".SH DESCRIPTION", _text(command.summary)]
    for paragraph in command.paragraphs:
        lines += [".PP", _text(paragraph)]
    if command.words:
        lines += [".SH ARGUMENTS", *(line for word in command.words for line in _flag(word))]
    if command.panels:
        lines += [".SH OPTIONS"]
    for title, flags in command.panels.items():
        lines += [] if title == OTHERWISE else [f".SS {_text(title)}"]
        lines += [line for flag in flags for line in _flag(flag)]
    lines += [".SH EXIT STATUS", "As in", ".BR unireg (1)."]
    others = [f"unireg\\-{one.name}" for one in commands if one.name != command.name]
    return _joined([*lines, *_see_also(["unireg", *others])])


def _head(name: str, summary: str) -> list[str]:
    # Neither a date nor a version: the page is the same until a command changes.
    return [_NOTE, f'.TH {name.upper()} 1 "" "unireg" "User Commands"', ".SH NAME", f"{_text(name)} \\- {_text(summary)}"]


def _flag(flag: Flag) -> list[str]:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in flag.names)
    shown = " ".join(part for part in (names, f"\\fI{_text(flag.value)}\\fR" if flag.value else "") if part)
    return _item(shown, ("Required. " if flag.required and flag.names else "") + flag.help)


def _item(name: str, meaning: str) -> list[str]:
    return [".TP", name, _text(meaning)]


def _listing(title: str, entries: dict[str, str]) -> list[str]:
    return [f".SH {title}", *(line for name, meaning in entries.items() for line in _item(f"\\fB{_text(name)}\\fR", meaning))]


def _see_also(pages: Sequence[str]) -> list[str]:
    return [".SH SEE ALSO", *(f".BR {page} (1){',' if page != pages[-1] else ''}" for page in pages)]


def _text(words: str) -> str:
    """Plain words as roff: a minus that can be copied, no escapes, no line that looks like a request."""
    for character, escape in _ESCAPES.items():
        words = words.replace(character, escape)
    return f"\\&{words}" if words.startswith(".") else words


def _joined(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
