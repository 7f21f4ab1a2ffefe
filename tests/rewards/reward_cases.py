"""What tests of rewards are made of: words that are directions or begin alike, a given quality."""

DIRECTIONS = {
    "north": (0.0, 1.0),
    "east": (1.0, 0.0),
    "northeast": (0.6, 0.8),
    "south": (0.0, -1.0),
}
TEXTS = ["north", "east", "northeast"]
CLASSES = ["apple", "avocado", "beet", "corn"]


def compass(texts):
    """Embed words as their directions; the cosines of `TEXTS` are 0, .8 and .6."""
    return [DIRECTIONS[text] for text in texts]


def first_letter(a, b):
    return a[0] == b[0]


def from_column(prompts, completions, completion_ids, *, q, **columns):
    """A quality that is what the column `q` says."""
    return q
