"""The report in a browser: nothing runs, nothing loads, everything can be reached and read."""

from itertools import pairwise

import pytest
from evaluation.pages import HOSTILE, comparison, injected, sample, with_sweep

from diversify.evaluation.report import write_report

pytestmark = pytest.mark.browser

WORDS = [f"word{number % 31}" for number in range(160)]
LONG = [" ".join(WORDS[shift:] + WORDS[:shift]) for shift in range(8)]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with everything on it: a sweep, a further comparison, tests, long answers."""
    rows = [sample(f"p{n}", f"Tell of {n}.", LONG[: 8 - n], 2.0 + n) for n in range(3)]
    other = [sample(f"p{n}", f"Tell of {n}.", [*LONG[:2], "Short."], 4.0 - n) for n in range(3)]
    matched = {"vendi,ngram-2": comparison().measures["vendi,ngram-2"]}
    found = with_sweep(samples=(rows, other), length_matched=matched)
    known = {"p_value": 0.01, "p_holm": 0.02, "detectable": 0.3}
    for name, change in found.measures.items():
        found.measures[name] = change._replace(**known)
    also = {"a further model with a long name": comparison(samples=(rows, other))}
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(found, path, also=also).as_uri()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page with hostile text in every place that a model, a user or a file can fill."""
    attack = "\n".join(
        [
            *HOSTILE,
            "<script>window.harmed = 1</script>",
            "</script><svg onload='window.harmed = 2'>",
            "<img src=http://127.0.0.1:9/x onerror='window.harmed = 3'>",
            "\u202eesrever\x00 \u2066 \x07" + "x" * 400 + "W" * 200 + "\ufffe",
        ]
    )
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    also = {attack: injected(attack)}
    return write_report(injected(attack), path, title=attack, also=also).as_uri()


def all_open(chromium):
    chromium.ask("document.querySelectorAll('details').forEach(d => { d.open = true })")


def overflow(chromium):
    """How many pixels the page is wider than its window."""
    return chromium.ask("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_logged_and_nothing_is_loaded(chromium, address, dark):
    chromium.open(address, dark=dark)
    all_open(chromium)
    assert chromium.logged == []
    assert [url for url in chromium.requested if not url.startswith("data:")] == [address]


def test_the_browser_would_notice_a_script_and_a_request(chromium, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src=missing.png><script>window.harmed = 1; console.log('ran')</script>")
    chromium.open(path.as_uri())
    assert chromium.ask("window.harmed") == 1
    assert chromium.logged
    assert (tmp_path / "missing.png").as_uri() in chromium.requested


def test_hostile_text_neither_runs_nor_loads_nor_breaks_the_page(chromium, hostile):
    chromium.open(hostile)
    all_open(chromium)
    assert chromium.ask("window.harmed") is None
    assert chromium.ask("document.scripts.length + document.images.length") == 0
    assert chromium.logged == []
    assert [url for url in chromium.requested if not url.startswith("data:")] == [hostile]
    everything = "[...document.querySelectorAll('*')]"
    assert not chromium.ask(
        f"{everything}.some(e => [...e.attributes].some(a => a.name.startsWith('on')))"
    )
    # Every section is still a child of <main>, and the foot comes last.
    assert chromium.ask("document.querySelectorAll('main > section').length") == 6
    assert chromium.ask("document.body.lastElementChild.tagName") == "FOOTER"
    assert "\u27e6RLO\u27e7esrever\u27e6U+0000\u27e7" in chromium.ask("document.body.innerText")


@pytest.mark.parametrize("width", [390, 400, 1200])
def test_a_page_is_never_wider_than_its_window(chromium, address, hostile, width):
    for page in (address, hostile):
        chromium.open(page, width=width)
        all_open(chromium)
        assert overflow(chromium) <= 0, page


def test_the_check_of_the_width_can_fail(chromium, address):
    chromium.open(address, width=390)
    chromium.ask("document.querySelector('h1').style.width = '500px'")
    assert overflow(chromium) > 0


# The texts of points that can be seen.
SHOWN = """[...document.querySelectorAll('.told')].filter(
    e => e.checkVisibility({opacityProperty: true})).map(e => e.textContent)"""
FOCUSED = "(document.activeElement.getAttribute('href') || document.activeElement.tagName)"


def test_the_keyboard_leads_to_an_answer(chromium, address):
    """Tab to the first prompt's summary, open and close it, then to a point, then to its answer."""
    chromium.open(address)
    visited = []
    while "#p1-before-1" not in visited:
        chromium.press("Tab")
        visited.append(chromium.ask(FOCUSED))
        assert len(visited) < 150, visited
        if chromium.ask("document.activeElement.matches('.prompt > summary')"):
            for expected in (False, True):
                chromium.press("Enter")
                assert chromium.ask("document.activeElement.parentElement.open") is expected
    assert visited[0] == "#numbers"  # the skip link
    (text,) = chromium.ask(SHOWN)
    assert text.startswith("Before 1 word0 word1")
    chromium.press("Enter")
    assert chromium.ask("location.hash") == "#p1-before-1"
    target = "document.querySelector(':target').getBoundingClientRect()"
    assert 0 <= chromium.ask(f"{target}.top") < chromium.ask("window.innerHeight")
    assert chromium.ask("document.querySelector(':target').tagName") == "LI"


def test_pointing_at_a_spot_shows_its_answer(chromium, address):
    chromium.open(address)
    # One that no other spot lies above.
    place = """(() => {
        for (const spot of document.querySelectorAll('.prompt[open] .spot')) {
            spot.scrollIntoView({block: 'center'});
            const box = spot.querySelector('.mark').getBoundingClientRect();
            const at = [box.x + box.width / 2, box.y + box.height / 2];
            if (spot.contains(document.elementFromPoint(...at))) return [...at, spot.textContent];
        }
    })()"""
    x, y, text = chromium.ask(place)
    assert chromium.ask(SHOWN) == []
    chromium.point(x, y)
    assert chromium.ask(SHOWN) == [text]


# Text on what lies behind it, by the formula of WCAG 2: 4.5 for text, for large text 3.
CONTRAST = """(() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
    const light = c => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
    const behind = e => {
        for (; e; e = e.parentElement) {
            const c = rgb(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0) return c;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.checkVisibility()) continue;
        const style = getComputedStyle(e);
        const colour = rgb(e instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(colour), light(behind(e))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        const size = parseFloat(style.fontSize);
        if (ratio < (size >= 24 ? 3 : 4.5)) found.push([e.tagName, e.className, ratio]);
    }
    return [document.querySelectorAll('body *').length, found.slice(0, 5)];
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_light_and_in_dark(chromium, address, dark):
    chromium.open(address, dark=dark)
    all_open(chromium)
    paper = chromium.ask("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(23, 22, 19)" if dark else "rgb(251, 250, 246)")
    count, faint = chromium.ask(CONTRAST)
    assert count > 500 and faint == []


def test_the_check_of_contrast_can_fail(chromium, address):
    chromium.open(address)
    chromium.ask("document.querySelector('h1').style.color = '#eee'")
    assert chromium.ask(CONTRAST)[1]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_drawn(chromium, address, dark):
    """A picture of the map differs from the same page without its points."""
    chromium.open(address, dark=dark)
    chromium.ask("document.querySelector('.prompt[open] .map').scrollIntoView()")
    drawn = chromium.picture()
    chromium.ask("document.querySelectorAll('.spot').forEach(e => e.remove())")
    assert chromium.picture() != drawn
    for figure in ("frontier", "dumbbell", "heat", "map"):
        box = f"document.querySelector('svg.{figure}:not(.numbers-of)').getBoundingClientRect()"
        assert chromium.ask(f"{box}.width") > 100 and chromium.ask(f"{box}.height") >= 20


# What a screen reader needs and an eye does not notice is missing.
FAULTS = """(() => {
    const found = [];
    const all = what => [...document.querySelectorAll(what)];
    const say = (what, e) => found.push([what, e.outerHTML.slice(0, 90)]);
    const ids = all('[id]').map(e => e.id);
    if (new Set(ids).size < ids.length) found.push(['an id stands twice', '']);
    for (const svg of all('svg')) {
        if (svg.parentElement.closest('svg') || svg.closest('[aria-hidden=true]')) continue;
        const title = svg.querySelector(':scope > title, :scope > desc');
        if (!title || !title.textContent.trim() || !svg.role) say('a figure without a name', svg);
    }
    for (const table of all('table')) {
        if (!table.caption || !table.caption.textContent.trim()) say('no caption', table);
    }
    for (const th of all('th')) if (!th.scope) say('a head without a scope', th);
    let last = 0;
    for (const head of all('h1, h2, h3, h4, h5, h6')) {
        const level = Number(head.tagName[1]);
        if (level > last + 1) say('a level of headings is left out', head);
        last = level;
    }
    for (const e of all('a, summary, [tabindex], section, nav')) {
        const by = e.getAttribute('aria-labelledby');
        const label = by ? document.getElementById(by) : e;
        const name = (e.getAttribute('aria-label') || '') + (label ? label.textContent : '');
        if (!name.trim() || (by && !label)) say('no name', e);
    }
    for (const e of all('[tabindex]')) if (e.tabIndex > 0) say('an order of its own', e);
    for (const figure of all('svg.heat, svg.frontier')) {
        const near = figure.closest('figure, .side');
        if (!near || !near.querySelector('table')) say('no table stands for it', figure);
    }
    return found;
})()"""


def test_figures_tables_and_headings_can_be_heard(chromium, address, hostile):
    for page in (address, hostile):
        chromium.open(page)
        assert chromium.ask(FAULTS) == []
        assert chromium.ask("document.querySelectorAll('svg.heat, table.pairs').length") > 4


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (
            "document.querySelector('svg.heat > title').remove(); "
            "document.querySelector('svg.heat > desc').remove()",
            "a figure without a name",
        ),
        ("document.querySelector('table').caption.remove()", "no caption"),
        ("document.querySelector('th').removeAttribute('scope')", "a head without a scope"),
        (
            "document.querySelector('h3').outerHTML = '<h5>x</h5>'",
            "a level of headings is left out",
        ),
        ("document.querySelector('h1').id = 'numbers'", "an id stands twice"),
        ("document.querySelector('table.pairs').remove()", "no table stands for it"),
        ("document.querySelector('section').setAttribute('aria-labelledby', 'none')", "no name"),
    ],
)
def test_the_check_for_what_is_heard_can_fail(chromium, address, harm, fault):
    chromium.open(address)
    chromium.ask(harm)
    assert fault in [what for what, _ in chromium.ask(FAULTS)]


# Whether what has the focus looks different: an outline, or a point of the map drawn thicker.
MARKED = """(() => {
    const e = document.activeElement;
    const mark = e.querySelector('.mark');
    if (e.matches('.spot')) return parseFloat(getComputedStyle(mark).strokeWidth) >= 4;
    const style = getComputedStyle(e);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
})()"""


def test_the_focus_can_be_seen_and_goes_down_the_page(chromium, address):
    """The top of what is visited never moves up by more than a row of links or a figure."""
    chromium.open(address)
    seen = []
    for _ in range(40):
        chromium.press("Tab")
        assert chromium.ask(MARKED), chromium.ask("document.activeElement.outerHTML.slice(0, 90)")
        seen.append(chromium.ask("document.activeElement.getBoundingClientRect().top + scrollY"))
    spots = chromium.ask("document.querySelector('.map').getBoundingClientRect().height")
    assert all(later > earlier - spots for earlier, later in pairwise(seen[1:]))
    assert seen[-1] > seen[1] + 1000


def test_words_of_the_table_stay_whole_beside_four_further_models(chromium, tmp_path):
    """The first column keeps room for a word; what does not fit can be scrolled to."""
    also = {f"model-{number}": comparison() for number in range(4)}
    path = write_report(with_sweep(), tmp_path / "report.html", also=also)
    for width in (1280, 1000):
        chromium.open(path.as_uri(), width=width)
        first = "document.querySelector('.numbers tbody tr:not(.group) th')"
        assert chromium.ask(f"{first}.getBoundingClientRect().width") >= 190
        assert overflow(chromium) <= 0


def test_a_hint_stands_in_for_the_text_until_a_point_has_the_focus(chromium, address):
    chromium.open(address)
    shown = "document.querySelector('.map .hint').checkVisibility({opacityProperty: true})"
    assert chromium.ask(shown)
    chromium.ask("document.querySelector('.map .spot').focus()")
    assert not chromium.ask(shown)


def test_points_have_names_for_a_screen_reader(chromium, address):
    chromium.open(address)
    tree = chromium.send("Accessibility.getFullAXTree")["nodes"]
    named = {(n["role"]["value"], n.get("name", {}).get("value")) for n in tree if "role" in n}
    assert any(role == "link" and str(name).startswith("Before 1") for role, name in named)
    assert any(role == "heading" and name == "Said again and again" for role, name in named)
    assert any("each point is a link" in str(name) for _, name in named)
    assert {"table", "region", "main", "navigation"} <= {role for role, _ in named}
