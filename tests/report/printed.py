"""Reads the tables of the five papers out of their text, without the record: what each cell says, cell by cell."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

Lines = list[list[str]]
Cells = Iterator[tuple[tuple[str, ...], str]]
"""Key (as `KEYS` orders it) and the number in that cell."""

ASSOCIATION = ("FairMOT detections, no motion", "COSTA_st masks, no motion", "LightTrack poses, no motion")
PROTOCOLS = ("XCorr head", "DCF head", "mask prompt", *(name for name in ASSOCIATION for _ in range(2)))
METRICS = ("AUC", "AUC", "J-mean", "IDF1", "HOTA", "IDF1", "HOTA", "IDF1", "IDSW")
MOT = ("MOTA", "IDF1", "HOTA", "MT%", "ML%", "FP", "FN", "IDSW")
FULL = {
    "MNet": "MobileNet",
    "MNet-FPN": "MobileNet-FPN",
    "RNet34-FPN": "ResNet-34-FPN",
    "RNet50-FPN": "ResNet-50-FPN",
}
ABLATIONS = {
    **dict.fromkeys(
        ("ConvNeXt-Tiny", "Deformable Att", "Broad Sum", "Unification", "Ours"), ("Unicorn", "ConvNeXt-T")
    ),
    "ResNet-50": ("Unicorn", "ResNet-50"),
    "Full Att": ("Unicorn, interaction: full attention", "ConvNeXt-T"),
    "Conv": ("Unicorn, interaction: convolution", "ConvNeXt-T"),
    "Concat": ("Unicorn, fusion: concatenation", "ConvNeXt-T"),
    "W/o Prior": ("Unicorn, fusion: without prior", "ConvNeXt-T"),
    "Ours-RT": ("Unicorn, RT", "ConvNeXt-T"),
}
MISSPELT = {"TimeCylce": "TimeCycle", "SiamPRN++": "SiamRPN++"}

KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    "unitrack": {
        **dict.fromkeys(("Table 1", "Table 2"), ("system", "layer", "protocol", "metric")),
        **dict.fromkeys((f"Table 3{part}" for part in "abcde"), ("system", "metric")),
    },
    "retinatrack": dict.fromkeys((f"Figure {number}" for number in range(4, 10)), ("system", "metric")),
    "tdt": {
        "Table 1": ("system", "metric"),
        "Table 2": ("benchmark", "system", "metric"),
        "Table 3": ("system", "metric"),
        "Table 4": ("split", "system", "metric"),
        "Table 5": ("backbone", "metric"),
        "Table 6": ("system", "metric"),
    },
    "unicorn": {
        "Table 1": ("system", "benchmark", "metric"),
        "Table 2": ("system", "metric"),
        "Table 3": ("system", "metric"),
        "Table 4": ("system", "protocol", "benchmark", "metric"),
        "Table 5": ("system", "metric"),
        "Table 6": ("system", "metric"),
        "Table 7": ("system", "backbone", "benchmark", "metric"),
    },
    "trivd": {
        **dict.fromkeys(("Table 1", "Table 2", "Table 3"), ("system", "backbone", "metric")),
        "Table 4": ("system", "metric"),
    },
}
"""Paper -> its tables, in the order of its text -> the fields of the record that a cell's place in them says."""


def tables(text: str, paper: str) -> dict[str, Lines]:
    """Every table of a paper that has numbers: its lines, each a list of cells without markup and citations."""
    blocks: list[Lines] = [[]]
    for line in text.splitlines():
        if "\t" in line:
            blocks[-1].append([_clean(cell) for cell in line.split("\t")])
        elif blocks[-1]:
            blocks.append([])
    numbered = [
        block for block in blocks if any(re.search(r"\d\.\d", cell) for line in block for cell in line)
    ]
    return dict(zip(KEYS[paper], numbered, strict=True))


def cells(paper: str, folder: Path) -> dict[tuple[str, ...], str]:
    """Every number in the tables of a paper: (table, *key) -> as printed; a fraction of TDT's as percent."""
    name, read = {
        "unitrack": ("003", unitrack), "retinatrack": ("001", retinatrack), "tdt": ("004", tdt),
        "unicorn": ("002", unicorn), "trivd": ("000", trivd),
    }[paper]  # fmt: skip
    (path,) = folder.glob(f"{name}_*.txt")
    found: dict[tuple[str, ...], str] = {}
    for table, lines in tables(path.read_text(encoding="utf-8"), paper).items():
        for key, text in read(table, lines):
            if text not in ("", "-"):
                value = re.fullmatch(r"(\d+(?:\.\d+)?)%?", text)
                assert value, (paper, table, key, text)
                assert found.setdefault((table, *key), value[1]) == value[1], (paper, table, key)
    return found


def unitrack(table: str, lines: Lines) -> Cells:
    columns = {"a": ("IDF1", "IDSW", "MOTA", "HOTA"), "b": ("IDF1", "IDSW", "sMOTSA"), "c": ("IDF1", "IDSW", "MOTA"),
               "d": ("J-mean",), "e": ("AUC",)}  # fmt: skip
    for system, *numbers in lines[2 if table in ("Table 1", "Table 2") else 1 :]:
        if table in ("Table 1", "Table 2"):
            for protocol, metric, pair in zip(PROTOCOLS, METRICS, numbers, strict=True):
                for layer, value in zip(("layer3", "layer4"), pair.split(" / "), strict=True):
                    yield (system, layer, protocol, metric), value
        else:
            for metric, value in zip(columns[table[-1]], numbers, strict=True):
                yield (system, metric), value


def retinatrack(table: str, lines: Lines) -> Cells:
    columns = {"4": ("mAP", "ms"), "5": ("MOTA", "mAP", "ms"), "6": ("MOTA", "mAP"), "8": ("MOTA", "mAP", "ms"),
               "7": ("MOTA", "TP", "FP", "IDSW", "mAP", "ms"), "9": ("MOTA", "mAP", "ms")}[table[-1]]  # fmt: skip
    for line in lines:
        *label, system = line[: -len(columns)]
        if table in ("Figure 4", "Figure 5"):
            name, shared, *depths = label
            told = {"No": ["unshared"], "Yes": ["shared"]}.get(shared, [])
            told += [f"m{place}={depth}" for place, depth in enumerate(depths, 1) if depth.isdigit()]
            system = ", ".join([name, *told, f"K={system}"])
        elif table == "Figure 6":
            system = f"RetinaTrack, m3={system}"
        if re.match(r"\d|-", line[-1]):
            for metric, value in zip(columns, line[-len(columns) :], strict=True):
                yield (system.replace("RetinaTrack, w/", "RetinaTrack w/"), metric), value


def tdt(table: str, lines: Lines) -> Cells:
    columns = (
        ("MOTA", "IDF1", "MT%", "ML%", "IDSW")
        if table == "Table 2"
        else ("MOTA", "IDF1", "IDSW", "AP50", "FPS")
    )
    benchmark = ""
    for label, *numbers in lines[2 if table == "Table 4" else 1 :]:
        if table == "Table 2":
            first = next(place for place, cell in enumerate(numbers) if re.match(r"\d", cell))
            words = [word for word in (label, *numbers[:first]) if word]
            benchmark = words[0] if words[0].startswith("MOT") else benchmark
            system = words[-1].removesuffix(" (Ours)").removesuffix("*")
            for metric, value in zip(columns, numbers[first : first + len(columns)], strict=True):
                yield (benchmark, system, metric), value
        elif table == "Table 4":
            split = "train, 6 clips" if label == "Overall" else f"train, {label}"
            heads = [(system, metric) for system in ("FairMOT", "TDT-RNet34") for metric in ("AP50", "MOTA")]
            for head, value in zip(heads, numbers, strict=True):
                yield (split, *head), _percent(value)
        else:
            teacher = re.fullmatch(r"(\S+) \( ?(\d+\.\d) ?\)", label)
            key = FULL.get(label, label)
            key = f"TDT-tracker, Ds={label}" if label.isdigit() else key
            key = f"TDT-tracker, teacher {teacher[1]}" if teacher else key
            for metric, value in zip(columns, numbers, strict=False):  # Table 3 has no FPS
                yield (key, metric), _percent(value)
            if teacher:
                yield (key, "mAP"), teacher[2]


def unicorn(table: str, lines: Lines) -> Cells:
    prompt = ""
    columns = {
        "1": [(name, metric) for name in ("LaSOT", "TrackingNet") for metric in ("AUC", "NormP", "P@20")],
        "2": [(metric,) for metric in MOT],
        "3": [(metric,) for metric in ["mMOTA", "mIDF1", "MOTA", "IDF1", "FN", "FP", "IDSW", "MT", "ML", "mAP"]],
        "4": [(name, metric) for name in ("DAVIS-2016", "DAVIS-2017") for metric in ("J&F", "J-mean", "F-mean")],
        "5": [(metric,) for metric in ["sMOTSA", "IDF1", "MT%", "ML%", "FP", "FN", "IDSW"]],
        "6": [(metric,) for metric in ["mMOTSA", "mMOTSP", "mIDF1", "IDSW", "mAP"]],
        "7": [("LaSOT", "AUC"), ("BDD100K", "mMOTA"), ("DAVIS-2017", "J&F"), ("BDD100K MOTS", "mMOTSA"), ("", "FPS")],
    }[table[-1]]  # fmt: skip
    for line in lines:
        label: tuple[str, ...] = (line[0],)
        if table == "Table 4":
            prompt = f"{'box' if line[0] == 'bbox' else line[0]} prompt" if line[0] else prompt
            label = (line[1], prompt)
        elif table == "Table 6" and line[1] == "✗":
            label = (f"{line[0]} (offline)",)
        elif table == "Table 7":
            label = ABLATIONS.get(line[1], (f"Unicorn, {line[1]}", "ConvNeXt-T"))
        if re.match(r"\d|-", line[-1]):
            for column, value in zip(columns, line[-len(columns) :], strict=True):
                yield (*label, *column), value


def trivd(table: str, lines: Lines) -> Cells:
    if table == "Table 4":
        for frames, value in zip(lines[0][1:], lines[1][1:], strict=True):
            yield (f"TrIVD_single, {frames} frame{'s' * (frames != '1')}", "AP"), value
        return
    columns = {"1": ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L"), "2": ("AP",),
               "3": ("MOTA", "IDF1", "MT", "ML", "FP", "FN", "IDSW")}[table[-1]]  # fmt: skip
    for line in lines[1:]:
        system = re.sub(r" [_^]\{box-refine\}", " box-refine", line[0])
        system = re.sub(r" _\{(\w+)\}", r"_\1", system)
        if table == "Table 2":
            system += f", {line[3]} frame{'s' * (line[3] != '1')}"
        backbone = line[2] if table == "Table 3" else line[1]
        for metric, value in zip(columns, line[-len(columns) :], strict=True):
            yield (system, backbone, metric), value


def _clean(cell: str) -> str:
    bare = re.sub(r"</?[a-z]+>|\$\\dagger\$|\[[\d, ]+\]|^\*|\*$(?<=\w:\*)", "", cell)
    bare = re.sub(r"\s+", " ", bare).strip()
    bare = re.sub(r"^Color\. \+", "Color.+", bare).replace("Faster-RCNN ", "Faster-RCNN")
    return MISSPELT.get(bare, bare)


def _percent(value: str) -> str:
    """TDT prints some fractions."""
    return str((100 * Decimal(value)).quantize(Decimal("0.1"))) if value.startswith("0.") else value
