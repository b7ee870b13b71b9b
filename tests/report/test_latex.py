"""The LaTeX table: it has the shape of one, says what the board says, and prints names as they are."""

import re
from dataclasses import replace

import pytest

from tests.report.fakes import TASKS, board_of, fact, score
from unibench.errors import OutputError
from unibench.report import latex
from unibench.report.boards import Setting, arrange
from unibench.report.leaderboard import Standing

SETTING = Setting("vos/davis2017", "unitrack", "")
SCORES = [score("a", value=0.6), score("b", value=0.55), score("c", value=0.5), score("d", value=-0.1)]
TIES = {
    ("a", "layer3", SETTING): Standing.BEST,
    ("b", "layer3", SETTING): Standing.TIED,
    ("c", "layer3", SETTING): Standing.BEHIND,
    ("d", "layer3", SETTING): Standing.BEHIND,
}


def rows(text):
    """Cells of the rows between the head and the bottom; a tabular within a cell counts as that cell."""
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line.removesuffix(r" \addlinespace").removesuffix(r" \\") for line in body.strip().splitlines()]
    return [re.split(r" (?<!\\)& ", line) for line in lines]


def test_a_small_board_to_the_letter():
    assert latex.table(arrange(SCORES, [fact("a", 0.772)]), TIES) == "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            r"\caption{Headline scores; fractions $\times$ 100. Best in bold, second underlined. $^{=}$ cannot be told "
            r"apart from the best of its column: in a paired permutation test over clips, Holm-adjusted over the "
            r"column, p is .05 or more.}",
            r"\label{tab:leaderboard}",
            r"\begin{tabular}{llrr}",
            r"\toprule",
            r"model & layer & \begin{tabular}[b]{@{}r@{}}ImageNet\\top-1\end{tabular} & "
            r"\begin{tabular}[b]{@{}r@{}}VOS\\J-mean $\uparrow$\end{tabular} \\",
            r"\midrule",
            r"A & layer3 & 77.20 & \textbf{60.00} \\ \addlinespace",
            r"b & layer3 &  & \underline{55.00}\rlap{$^{=}$} \\",
            r"c & layer3 &  & 50.00 \\",
            r"d & layer3 &  & $-$10.00 \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


@pytest.mark.parametrize("intervals", [False, True])
def test_braces_and_environments_are_balanced_and_every_row_has_every_column(intervals):
    scores, facts = board_of(5, missing=[("m2", "mot/mot16")])
    scores = [replace(one, ci_low=one.value - 0.02, ci_high=one.value + 0.03) for one in scores]
    text = latex.table(arrange(scores, facts), intervals=intervals)
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}")
    found = rows(text)
    assert len(found) == 3 * 5  # two layers and the best of each
    assert {len(cells) for cells in found} == {3 + len(TASKS)}


def test_the_right_cells_are_bold_and_underlined():
    scores, facts = board_of(5)
    for column, task in enumerate(TASKS):
        values = sorted((one.value for one in scores if one.task == task), reverse=True)
        cells = [cells[3 + column] for cells in rows(latex.table(arrange(scores, facts)))]
        assert set(re.findall(r"\\textbf\{([\d.]+)\}", " ".join(cells))) == {f"{100 * values[0]:.2f}"}
        assert set(re.findall(r"\\underline\{([\d.]+)\}", " ".join(cells))) == {f"{100 * values[1]:.2f}"}


def test_a_metric_that_shall_be_low_has_its_lowest_in_bold_and_counts_are_whole():
    text = latex.table(
        arrange([score("a", metric="IDSW", value=7.0), score("b", metric="IDSW", value=9.0)], [])
    )
    assert [cells[-1] for cells in rows(text)] == [r"\textbf{7}", r"\underline{9}"]
    assert r"IDSW $\downarrow$" in text


def test_intervals_stand_below_the_numbers():
    scores = [replace(SCORES[0], ci_low=-0.05, ci_high=0.625), SCORES[1]]
    first, second = rows(latex.table(arrange(scores, []), intervals=True))
    assert first[-1] == (r"\begin{tabular}[t]{@{}r@{}}\textbf{60.00}\\\tiny $-$5.00 to 62.50\end{tabular}")
    assert second[-1] == r"\underline{55.00}"
    assert r"95\,\% interval" in latex.table(arrange(scores, []), intervals=True)
    assert r"\tiny" not in latex.table(arrange(scores, []))


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("my_net", r"my\_net"),
        ("50%&#1", r"50\%\&\#1"),
        (r"a\b{c}$", r"a\textbackslash{}b\{c\}\$"),
        ("~^<|>", r"\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{}"),
        ("[x]*", "{[}x]{*}"),
        ("plain-1.0", "plain-1.0"),
    ],
)
def test_a_name_is_printed_as_it_is(name, printed):
    assert latex.escape(name) == printed
    assert rows(latex.table(arrange([score(name, layer=name)], [])))[0][:2] == [printed, printed]


def test_the_file_is_written_in_one_step(tmp_path):
    path = latex.write(arrange(SCORES, []), tmp_path / "new", TIES)
    assert path == tmp_path / "new" / "leaderboard.tex"
    assert path.read_text() == latex.table(arrange(SCORES, []), TIES)
    with pytest.raises(OutputError, match="data_hash is d1"):
        latex.write(arrange([*SCORES, score("e", data_hash="d2")], []), tmp_path / "other")
    assert not (tmp_path / "other").exists()
