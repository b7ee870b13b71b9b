"""Presets of SOT, and the heads that they choose. A preset holds the knobs of its own head and of no other."""

from unibench.tasks.family import Knobs, Protocol, by_name

HEADS = {"dcf": "heads.dcf:HEAD", "xcorr": "heads.xcorr:HEAD"}
"""Name -> `heads.correlation.CorrelationHead`."""

_SEARCH: Knobs = {
    "padding": 3.5,
    "crop_size": 520,
    "scales": 3,
    "scale_step": 1.0275,
    "scale_penalty": 0.985,
    "min_scale": 0.2,
    "max_scale": 5.0,
    "min_side": 4.0,
    "aim": 0.0,
}
_DCF: Knobs = {
    **_SEARCH,
    "head": "dcf",
    "head_options": {"regularisation": 1e-4, "label_sigma": 0.1, "learning_rate": 0.01},
}
_SMALL: Knobs = {**_DCF, "crop_size": 255, "scales": 1}
_XCORR: Knobs = {**_SEARCH, "head": "xcorr", "head_options": {"gain": 0.1, "decode": "corrected"}}
_DCF_2021: Knobs = {**_DCF, "aim": -1.0}
_XCORR_2021: Knobs = {**_XCORR, "aim": -1.0, "head_options": {"gain": 0.1, "decode": "as-coded"}}

PRESETS = by_name(
    Protocol("unitrack", "2.0", "UniTrack, section 3.2: the DCF head, which its Figures 1 and 6 use", _DCF),
    Protocol("as-coded", "2.0", "UniTrack's DCF head as in the 2021 code: windows one pixel off", _DCF_2021),
    Protocol("xcorr", "2.0", "UniTrack's XCorr head with the peak decoded correctly", _XCORR),
    Protocol("xcorr-as-coded", "2.0", "UniTrack's XCorr head as in the 2021 code", _XCORR_2021),
    Protocol("small", "2.0", "for small frames: the study with windows of 255 pixels, at one scale", _SMALL),
    Protocol("box", "1.0", "joint trackers: the tracker follows the box of frame 0", {}, kinds=("joint",)),
)
