"""Reads Rust source far enough for the checks beside it: no comments, no literals, functions by their braces."""

import bisect
import re

# Comments, strings (raw ones included) and characters. A lifetime has no closing quote and is left alone.
_NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|(?<![\w])(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes)|"(?:\\.|[^"\\])*"|'(?:\\[^']+'|\\''|[^'\\\n]')""",
    re.DOTALL,
)
_FUNCTION = re.compile(r"\bfn\s+(\w+)")


def code_only(text):
    """The text with comments and literals blanked; every character keeps its place."""
    return _NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def line_of(text):
    """A function from a position in the text to its line number."""
    starts = [0] + [end.end() for end in re.finditer("\n", text)]
    return lambda position: bisect.bisect_right(starts, position)


def functions(code):
    """Name, start and end of every function with a body, nested ones included; `code` as `code_only` returns it."""
    for found in _FUNCTION.finditer(code):
        depth, brackets = 0, 0
        for position in range(found.end(), len(code)):
            letter = code[position]
            if letter in "([":
                brackets += 1
            elif letter in ")]":
                brackets -= 1
            elif letter == ";" and depth == 0 and brackets == 0:
                break
            elif letter == "{":
                depth += 1
            elif letter == "}":
                depth -= 1
                if depth == 0:
                    yield found.group(1), found.start(), position
                    break
