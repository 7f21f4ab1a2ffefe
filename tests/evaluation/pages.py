"""Comparisons that are easy to recognise on a page, and a page as lists: for tests of the report."""

from html.parser import HTMLParser

import numpy as np

from diversify.evaluation import Change, Comparison, Frontier, Report

VOID = {"meta", "link", "br", "hr", "img", "input", "area", "base", "col", "source", "wbr"}


class Page(HTMLParser):
    """A page as lists: elements with attributes and the text inside, and any tag out of balance."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.stack, self.errors, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        self.errors += [f"never closed: {name}" for name, _ in self.stack]

    def handle_starttag(self, name, attributes):
        element = {"tag": name, "text": "", **dict(attributes)}
        self.elements.append(element)
        if name not in VOID:
            self.stack.append((name, element))

    def handle_endtag(self, name):
        if not self.stack or self.stack[-1][0] != name:
            self.errors.append(f"</{name}> closes {self.stack[-1][0] if self.stack else 'nothing'}")
        else:
            self.stack.pop()

    def handle_data(self, text):
        self.texts.append(text)
        for _, element in self.stack:
            element["text"] += text

    def all(self, name, class_=None, **attributes):
        return [
            e
            for e in self.elements
            if e["tag"] == name
            and (class_ is None or class_ in (e.get("class") or "").split())
            and all(e.get(key.replace("_", "-")) == value for key, value in attributes.items())
        ]

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


def change(before, after, low=None, high=None, *, higher=True, n=12, improved=0.5):
    """A Change; without bounds the interval lies closely around the difference."""
    difference = after - before
    ci95 = (difference - 0.01 if low is None else low, difference + 0.01 if high is None else high)
    return Change(before, after, difference, ci95, n, improved, higher)


def sample(name, prompt, texts, vendi, *, category="facts", **columns):
    count = len(texts)
    similarity = np.full((count, count), 0.25) + 0.75 * np.eye(count)
    return {
        "id": name,
        "prompt": prompt,
        "category": category,
        "generations": texts,
        "measures": {"vendi,minilm": vendi, "mean_distance,minilm": 0.4},
        "qualities": {"relevance": 0.5},
        "quality_values": {"relevance": [0.5] * count},
        "monitors": {"length": 2.0, "refusal": 0.0},
        "similarity": similarity.tolist(),
    } | columns


BEFORE = [
    sample("p1", "Name a colour.", ["Blue.", "Blue.", "Red."], 1.5),
    sample("p2", "Name a fruit.", ["Fig.", "Plum.", "Fig."], 2.0),
    sample("p3", "Name a river.", ["Rhine.", "Nile.", "Po."], 2.5),
]
AFTER = [
    sample("p1", "Name a colour.", ["Blue.", "Green.", "Red."], 2.0),
    sample("p2", "Name a fruit.", ["Fig.", "Plum.", "Kiwi."], 3.0),
    sample("p3", "Name a river.", ["Rhine.", "Rhine.", "Rhine."], 1.0),
]
REASONS = {
    "collapse_fell": "because of A.",
    "quality_held": "because of B.",
    "beats_temperature": "because of C.",
}


def comparison(verdict=(True, True, True), **changes):
    """A comparison of three prompts whose numbers are easy to recognise."""
    names = ("collapse_fell", "quality_held", "beats_temperature")
    settings = {
        "label": "base",
        "settings": {"engine": {"model": "base-model"}, "sampling": {"temperature": 1.0}},
        "recipe": {
            "prompts": {"name": "open-ended", "version": "3", "n": 3},
            "samples": 3,
            "qualities": [{"name": "relevance", "quality": "relevance", "model": "e5"}],
            "kernels": [{"name": "minilm", "revision": "r7"}, {"name": "ngram-2", "revision": ""}],
        },
    }
    tuned = {
        "engine": {"model": "base-model", "adapter": "my-lora"},
        "sampling": {"temperature": 1.0},
    }
    content = {
        "labels": ("base", "tuned"),
        "measures": {
            "vendi,minilm": change(2.0, 3.5),
            "mean_distance,minilm": change(0.3, 0.5),
            "vendi,ngram-2": change(2.125, 3.875),
            "distinct_1,words": change(0.111, 0.222),
            "self_bleu,words": change(0.9, 0.6, higher=False),
        },
        "qualities": {"relevance": change(0.8, 0.79, -0.02, 0.005)},
        "monitors": {
            "length": change(10.0, 14.0, 3.0, 5.0, higher=False),
            "refusal": change(0.01, 0.03, higher=False),
        },
        "verdict": dict(zip(names, verdict, strict=True)) | {"reasons": REASONS},
        "details": {
            "before": settings,
            "after": settings | {"label": "tuned", "settings": tuned},
            "margins": {"relevance": {"margin": 0.03, "two_sided": False}},
            "trained_kernel": "minilm",
            "standings": [],
            "resamples": 777,
            "seed": 5,
            "confidence": 0.95,
            "versions": {"diversify": "9.9"},
            "git_hash": "abc1234",
        },
        "samples": (BEFORE, AFTER),
    }
    return Comparison(**(content | changes))


def swept(temperature, vendi, relevance):
    row = sample("p1", "Name a colour.", ["Blue."], vendi) | {"qualities": {"relevance": relevance}}
    config = {"label": f"T {temperature}", "settings": {"sampling": {"temperature": temperature}}}
    return Report({"config": config}, [row])


def with_sweep(**changes):
    points = [(0.5, 1.0, 0.9), (1.0, 2.0, 0.8), (1.5, 3.0, 0.6)]
    sweep = Frontier(tuple(swept(*point) for point in points), tuple(p[0] for p in points))
    plain = comparison(frontier=sweep, **changes)
    plain.details["standings"] = [
        {
            "measure": "vendi,minilm",
            "quality": "relevance",
            "gap": 1.45,
            "ci95": (1.21, 1.69),
            "above": True,
            "note": "",
        }
    ]
    return plain


HOSTILE = [
    "<script>alert(1)</script>",
    "</textarea></style></title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "<a href='javascript:alert(1)'>x</a>",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- ]]> &lt;b&gt;",
]


def injected(text):
    """A comparison with `text` in every place that a model, a user or a file can fill."""
    rows = tuple(
        [sample(text, text, [text, "x"], 1.0, category=text, quality_values={text: [1.0, 2.0]})]
        for _ in range(2)
    )
    chat = [{"role": text, "content": text}, {"role": "user", "content": text}]
    for side in rows:
        side.append(sample("chat", chat, ["a", "b"], 1.0))
        for row in side:
            row["measures"] |= {f"{text},{text}": 1.0}
    plain = comparison(
        (None, None, None),
        labels=(text, text),
        measures=comparison().measures | {f"{text},{text}": change(1.0, 2.0)},
        qualities={text: change(0.5, 0.6)},
        monitors={text: change(0.5, 0.6, higher=False)},
        samples=rows,
    )
    plain.verdict["reasons"] = dict.fromkeys(REASONS, text)
    details = plain.details | {"commands": [text], "git_hash": text, "trained_kernel": text}
    details["after"] = {"label": text, "settings": {text: text}}
    details["margins"] = {text: {"margin": 0.1, "two_sided": True}}
    return Comparison(**(vars(plain) | {"details": details}))
