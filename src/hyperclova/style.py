"""How our charts look: paper, ink and one accent, the same palette as Studio's.

``with chart(width, height) as (figure, axes):`` sets the style for one chart and leaves
matplotlib's settings as they were. Needs the extra ``report``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# The roles of Studio's light theme, in sRGB (their oklch values are in its style sheet).
PAPER = "#fbfaf7"
INK = "#1c1f24"
MUTED = "#66696f"
LINE = "#dfdeda"
ACCENT = "#007d50"
TINT = "#def5e8"
AMBER = "#bd821a"
DANGER = "#c13c3b"

# Fonts with Hangul, the first that is installed wins; matplotlib's own font has none.
_FONTS = (
    "Pretendard",
    "Apple SD Gothic Neo",
    "Noto Sans KR",
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Malgun Gothic",
    "NanumGothic",
    "DejaVu Sans",
)


@contextmanager
def chart(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> Iterator[tuple[Any, Any]]:
    """A figure of ``width`` × ``height`` inches and its axes, in our style.

    No window is opened: the figure can only be saved.
    """
    from matplotlib import font_manager, rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    installed = set(font_manager.get_font_names())
    settings: Any = {  # matplotlib types its keys one by one
        "font.family": [font for font in _FONTS if font in installed],
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": LINE,
        "axes.facecolor": PAPER,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,
        "figure.facecolor": PAPER,
        "figure.dpi": 160,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.4,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
    }
    with rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns)
