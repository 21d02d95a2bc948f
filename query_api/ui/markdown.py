"""What an agent or a person wrote, as HTML that can do nothing: Markdown without raw HTML, then an allow-list. Pure.

Images become links (a picture from elsewhere would tell elsewhere who reads), links open apart and lead only to the
web. Anything beyond `MARKDOWN_CHARS_MAX` stays plain text: nobody waits for a parser.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

MARKDOWN_CHARS_MAX = 40_000
#: Shorter texts are rendered once.
_KEPT_CHARS_MAX = 4_000

_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "div"),
}
_CODE_CLASS = re.compile(r"language-[A-Za-z0-9_+#.-]{1,20}")


def _no_picture(self: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    source = tokens[index].attrGet("src")
    label = tokens[index].content or source
    return f'<a href="{escape(source)}">{escape(label)}</a>'


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _no_picture)
    return parser


_PARSER = _parser()


def to_html(text: str) -> Markup:
    """Return Markdown as safe HTML; headings begin at the third level, below those of the page."""
    if len(text) > MARKDOWN_CHARS_MAX:
        return Markup('<pre class="plain">{}</pre>').format(text)
    return _kept(text) if len(text) <= _KEPT_CHARS_MAX else _html(text)


def _html(text: str) -> Markup:
    rendered = re.sub(r"<(/?)h([1-6])>", lambda m: f"<{m[1]}h{min(6, int(m[2]) + 2)}>", _PARSER.render(text))
    # A region that scrolls must be reachable by keyboard.
    return Markup(_CLEANER.clean(rendered).replace("<pre>", '<pre tabindex="0">'))


#: A window of a running session is rendered again and again, with one more message each time.
_kept = lru_cache(maxsize=1_000)(_html)


def _keep(tag: str, attribute: str, value: str) -> str | None:
    if tag == "code" and attribute == "class":
        return value if _CODE_CLASS.fullmatch(value) else None
    return value


_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes={"a": {"href"}, "code": {"class"}, "ol": {"start"}},
    attribute_filter=_keep,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)
