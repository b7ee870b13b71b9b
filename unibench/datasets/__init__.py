"""The benchmarks: one file a layout, one row a benchmark."""

from functools import partial

from unibench.datasets import (
    davis,
    got10k,
    jhmdb,
    kitti_mots,
    lasot,
    motchallenge,
    mots,
    otb,
    own_clips,
    posetrack,
    tapvid,
    youtube_vos,
)
from unibench.datasets.benchmark import ORACLES, OWN, SOURCES, Benchmark
from unibench.datasets.clips import truncate
from unibench.datasets.detections import with_detections, without_detections
from unibench.datasets.synthetic import benchmark, shapes

__all__ = ["BENCHMARKS", "SOURCES", "Benchmark", "truncate", "with_detections", "without_detections"]

_MOT = "https://motchallenge.net: CC BY-NC-SA 3.0, not for commercial use"

_CLIPS = "clips of your own: <clip>/ with images or a video, and"

_ROWS = (
    Benchmark(
        "sot/otb",
        "OTB",
        otb.names,
        otb.load,
        "OTB-2015: one zip a clip from http://cvlab.hanyang.ac.kr/tracker_benchmark; for research",
    ),
    Benchmark(
        "sot/lasot",
        "LaSOT",
        lasot.names,
        lasot.load,
        "LaSOT from http://vision.cs.stonybrook.edu/~lasot; for research",
    ),
    Benchmark(
        "sot/got10k",
        "GOT-10k",
        got10k.names,
        got10k.load,
        "GOT-10k (val) from http://got-10k.aitestunion.com; not for commercial use",
        headline="AO",
    ),
    Benchmark(
        "vos/davis2016",
        "DAVIS2016",
        davis.names_2016,
        davis.load_2016,
        "DAVIS-2016 (480p) from https://davischallenge.org; for research",
    ),
    Benchmark(
        "vos/davis2017",
        "DAVIS2017",
        davis.names_2017,
        davis.load_2017,
        "DAVIS-2017 TrainVal 480p from https://davischallenge.org; for research",
    ),
    Benchmark(
        "vos/youtube-vos",
        "YouTube-VOS/train",
        youtube_vos.names,
        youtube_vos.load,
        "YouTube-VOS, its train split (the others' truth is not public), from https://youtube-vos.org; for research",
    ),
    Benchmark(
        "mot/mot15", "MOT15", motchallenge.names, motchallenge.load_mot15, f"MOT15 from {_MOT}", SOURCES
    ),
    Benchmark("mot/mot16", "MOT16", motchallenge.names, motchallenge.load, f"MOT16 from {_MOT}", SOURCES),
    Benchmark("mot/mot17", "MOT17", motchallenge.names, motchallenge.load, f"MOT17 from {_MOT}", SOURCES),
    Benchmark(
        "mot/mot20", "MOT20", motchallenge.names, motchallenge.load_mot20, f"MOT20 from {_MOT}", SOURCES
    ),
    Benchmark(
        "mot/dancetrack",
        "DanceTrack",
        motchallenge.names_val,
        motchallenge.load_val,
        "DanceTrack (val) from https://dancetrack.github.io; CC BY 4.0 labels, videos for research",
        ORACLES,
    ),
    Benchmark(
        "mot/sportsmot",
        "SportsMOT",
        motchallenge.names_val,
        motchallenge.load_val,
        "SportsMOT (val) from https://deeperaction.github.io/datasets/sportsmot.html; for research",
        ORACLES,
    ),
    Benchmark("mots/mots20", "MOTS20", mots.names, mots.load, f"MOTS20 from {_MOT}", ORACLES),
    Benchmark(
        "mots/kitti-mots",
        "KITTI_MOTS",
        kitti_mots.names,
        kitti_mots.load,
        "images from https://www.cvlibs.net/datasets/kitti, truth from "
        "https://www.vision.rwth-aachen.de/page/mots; CC BY-NC-SA 3.0",
        ORACLES,
    ),
    Benchmark(
        "posetrack/posetrack18",
        "PoseTrack18",
        posetrack.names,
        posetrack.load,
        "PoseTrack18 (val) from https://posetrack.net (often down); for research",
        ORACLES,
    ),
    Benchmark(
        "posetrack/bonn",
        "BonnPoseTrack",
        posetrack.names,
        posetrack.load,
        "Bonn multi-person pose tracking data in PoseTrack18 JSON; for research",
        ORACLES,
    ),
    Benchmark(
        "pose/jhmdb",
        "JHMDB",
        jhmdb.names,
        jhmdb.load,
        "Rename_Images, joint_positions and splits from http://jhmdb.is.tue.mpg.de; for research",
    ),
    *(
        Benchmark(
            f"points/tapvid-{name}",
            f"tapvid_{name.replace('-', '_')}",
            partial(tapvid.names, pattern=pattern),
            partial(tapvid.load, pattern=pattern),
            f"https://github.com/google-deepmind/tapnet (TAP-Vid), {what}",
        )
        for name, pattern, what in (
            (
                "davis",
                "tapvid_davis.pkl",
                "tapvid_davis.zip; annotations CC BY 4.0, DAVIS's frames for research",
            ),
            (
                "kinetics",
                "*_of_*.pkl",
                "made of Kinetics-700's videos with its generate_tapvid.py; CC BY 4.0",
            ),
            ("rgb-stacking", "tapvid_rgb_stacking.pkl", "tapvid_rgb_stacking.zip; CC BY 4.0"),
        )
    ),
    Benchmark(
        "sot/folder", OWN, own_clips.names_sot, own_clips.load_sot, f"{_CLIPS} groundtruth.txt (OTB's rows)"
    ),
    Benchmark("vos/folder", OWN, own_clips.names_vos, own_clips.load_vos, f"{_CLIPS} masks/*.png (DAVIS)"),
    Benchmark(
        "mot/folder",
        OWN,
        own_clips.names_mot,
        own_clips.load_mot,
        f"{_CLIPS} gt/gt.txt (MOTChallenge's rows), det/det.txt if any; or annotations.json (COCO)",
        SOURCES,
    ),
    Benchmark(
        "mots/folder",
        OWN,
        own_clips.names_mots,
        own_clips.load_mots,
        f"{_CLIPS} gt/gt.txt (MOTS's rows)",
        ORACLES,
    ),
    Benchmark("pose/folder", OWN, own_clips.names_pose, own_clips.load_pose, f"{_CLIPS} joints.json"),
    Benchmark(
        "points/folder", OWN, own_clips.names_points, own_clips.load_points, f"{_CLIPS} points.npz (TAP-Vid)"
    ),
)

BENCHMARKS: dict[str, Benchmark] = (
    {row.task: row for row in _ROWS} | benchmark.benchmarks() | shapes.benchmarks()
)
"""Every benchmark by its task name."""
