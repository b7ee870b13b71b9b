"""A user's own clips, which pose as no benchmark: `<clip>/` with frames and the annotation of one family of tasks.

Frames are images in `<clip>/img1`, `img` or `images`, or one video file in `<clip>`, or `<clip>.mp4` (or another
suffix of a video) beside it. Text files count frames as the images' names do; those of a video count from 1, and so do
CVAT's, which bring `gt/labels.txt` (its zip file is unpacked first). `seqinfo.ini` is read where it is there: its
`frameRate` goes before the video's.

    mot    gt/gt.txt            MOTChallenge: frame,id,left,top,width,height,considered[,...]; det/det.txt if any
           or annotations.json  of all clips, beside their folders: COCO's JSON with videos
    mots   gt/gt.txt            MOTS: frame id class height width rle
    sot    groundtruth_rect.txt or groundtruth.txt: left,top,width,height of every frame, from 1 (OTB)
    vos    masks/*.png          DAVIS: the value is the id; named as the images, or numbered as the frames of the video
           or JPEGImages/<clip> and Annotations/<clip>, as DAVIS and YouTube-VOS have them
    pose   joints.json          for each frame a list of persons, each a list of joints [x, y] or null
    points points.npz           points (point, frame, [x, y]) from 0 to 1, occluded (point, frame) (TAP-Vid)
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from shlex import quote

from unibench.datasets import coco_video, motchallenge, mots, otb, points, prompts, youtube_vos
from unibench.datasets.clips import ImageFrames, image_clip
from unibench.datasets.files import (
    fail,
    found_clips,
    inside,
    read_list,
    require_folder,
    subfolders,
    visible,
)
from unibench.datasets.images import SUFFIXES as IMAGES
from unibench.datasets.images import frame_number, image_size, list_images
from unibench.datasets.video import SUFFIXES as VIDEOS
from unibench.datasets.video import Video, VideoFrames, open_video, video_clip
from unibench.records import Clip, Labels, Truth

FPS = 25.0
"""Frames per second of images where no `seqinfo.ini` says."""
_FOLDERS = ("img1", "img", "images")
_RECTANGLES = ("groundtruth_rect.txt", "groundtruth.txt")
_LABELS = Path("gt", "labels.txt")


@dataclass(frozen=True, eq=False)
class Frames:
    """Where the frames of a clip lie."""

    source: list[Path] | Video
    """The images, or the video file."""
    fps: float
    size: tuple[int, int]
    """(height, width) in pixels."""
    numbers: tuple[int, ...]
    """The number of each frame, as text files count."""


def open_frames(path: Path) -> Frames:
    """Find the frames of a clip.

    Args:
        path: A video file, a folder of images, or a clip's folder.

    Raises:
        UnibenchError: It is a video, and PyAV is not installed.
        DataError: There are no frames, or they cannot be read.
    """
    if not path.is_dir():
        return _of_video(open_video(path), None)
    fps = motchallenge.frame_rate(path)
    folders = [path, *(path / name for name in _FOLDERS)]
    if folder := next((one for one in folders if _holds(one, IMAGES)), None):
        images = list_images(folder)
        numbers = tuple(map(frame_number, images))
        if (path / _LABELS).is_file():  # CVAT names its images from 0
            numbers = tuple(range(1, len(images) + 1))
        return Frames(images, fps or FPS, image_size(images[0]), numbers)
    videos = [one for one in visible(path, "*") if one.suffix.lower() in VIDEOS]
    beside = visible(path.parent, f"{escape(path.name)}.*")
    videos += [one for one in beside if one.stem == path.name and one.suffix.lower() in VIDEOS]
    if len(videos) != 1:
        found = ", ".join(one.name for one in videos) or "no frames"
        fail(path, found, f"expected images in it or in {', '.join(_FOLDERS)}, or one video file")
    return _of_video(open_video(videos[0]), fps)


def make_clip(
    name: str,
    frames: Frames,
    *,
    prompt: Labels | Mapping[int, Labels] | None = None,
    detections: tuple[Labels, ...] | None = None,
    vocabulary: tuple[str, ...] = (),
) -> Clip:
    """Make a clip of frames; see `clips.image_clip`."""
    if isinstance(frames.source, Video):
        return video_clip(
            name, frames.source, fps=frames.fps, prompt=prompt, detections=detections, vocabulary=vocabulary
        )
    return image_clip(
        name, frames.source, frames.fps, prompt=prompt, detections=detections, vocabulary=vocabulary
    )


def names_mot(root: Path) -> list[str]:
    """List the clips with `gt/gt.txt` of boxes, or those of COCO's JSON.

    Raises:
        DataError: There are none.
    """
    if (root / coco_video.FILE).is_file():
        return coco_video.names(root)
    clips = [one for one in _names(root, ("gt/gt.txt",)) if not _holds_masks(root / one / "gt" / "gt.txt")]
    return found_clips(clips, root, "<clip>/gt/gt.txt with rows of boxes, separated by commas")


def load_mot(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with boxes; every class is scored, but for rows that are marked 0.

    Where `gt/labels.txt` has several classes, the eighth column of truth and detections is one of them, from 1.

    Raises:
        DataError: Files are missing or malformed.
    """
    if (root / coco_video.FILE).is_file():
        return coco_video.load(root, name)
    folder = inside(root, name)
    frames = open_frames(folder)
    vocabulary = tuple(read_list(folder / _LABELS)) if (folder / _LABELS).is_file() else ()
    kinds = len(vocabulary) if len(vocabulary) > 1 else 0
    truth = Truth(motchallenge.read_truth(folder / "gt" / "gt.txt", frames.numbers, kinds))
    detections = folder / "det" / "det.txt"
    found = motchallenge.read_detections(detections, frames.numbers, kinds) if detections.is_file() else None
    return make_clip(name, frames, detections=found, vocabulary=vocabulary), truth


def names_mots(root: Path) -> list[str]:
    """List the clips with `gt/gt.txt` of masks.

    Raises:
        DataError: There are none.
    """
    clips = [one for one in _names(root, ("gt/gt.txt",)) if _holds_masks(root / one / "gt" / "gt.txt")]
    return found_clips(clips, root, "<clip>/gt/gt.txt with rows of masks, separated by spaces")


def load_mots(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with masks of all objects.

    Raises:
        DataError: Files are missing or malformed.
    """
    folder = inside(root, name)
    frames = open_frames(folder)
    file = folder / "gt" / "gt.txt"
    rows = mots.read_rows(file, frames.numbers, frames.size)
    return make_clip(name, frames, vocabulary=mots.VOCABULARY), mots.truth_of(file, rows)


def names_sot(root: Path) -> list[str]:
    """List the clips with one box a frame.

    Raises:
        DataError: There are none.
    """
    return _names(root, _RECTANGLES)


def load_sot(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with one target; frames without a box (NaN, or without area) are not scored.

    Raises:
        DataError: Files are missing or malformed, or the numbers of boxes and of frames differ.
    """
    folder = inside(root, name)
    frames = open_frames(folder)
    file = next((folder / one for one in _RECTANGLES if (folder / one).is_file()), folder / _RECTANGLES[0])
    rectangles = otb.read_boxes(file)
    if len(rectangles) != len(frames.numbers):
        found = f"{len(rectangles)} boxes for {len(frames.numbers)} frames"
        fail(file, found, "expected left,top,width,height of every frame, NaN where there is no target")
    truth = otb.target(rectangles, file, frames.size)
    return make_clip(name, frames, prompt=truth.labels[0]), truth


def names_vos(root: Path) -> list[str]:
    """List the clips with `masks`, or those of DAVIS's two folders.

    Raises:
        DataError: There are none.
    """
    return youtube_vos.names(root) if _is_davis(root) else _names(root, ("masks",))


def load_vos(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with masks of some frames or all; an object is prompted in the first that shows it.

    Raises:
        DataError: Files are missing, damaged, of another size or of no frame.
    """
    if _is_davis(root):
        return youtube_vos.load(root, name)
    folder = inside(root, name)
    frames = open_frames(folder)
    masks = require_folder(folder / "masks", "PNG masks")
    if isinstance(frames.source, Video):
        annotated = _numbered(masks, frames)
    else:
        annotated = youtube_vos.annotated(masks, frames.source)
    prompts, truth = youtube_vos.objects(masks, annotated, len(frames.numbers), frames.size)
    return make_clip(name, frames, prompt=prompts), truth


def names_pose(root: Path) -> list[str]:
    """List the clips with `joints.json`.

    Raises:
        DataError: There are none.
    """
    return _names(root, ("joints.json",))


def load_pose(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with joints; those of frame 0 are the prompt.

    Raises:
        DataError: Files are missing or malformed, or the numbers of poses and of frames differ.
    """
    folder = inside(root, name)
    frames = open_frames(folder)
    file = folder / "joints.json"
    labels = prompts.read_poses(file)
    if len(labels) != len(frames.numbers):
        fail(file, f"joints of {len(labels)} frames, expected {len(frames.numbers)}", "give every frame once")
    return make_clip(name, frames, prompt=labels[0]), Truth(labels)


def names_points(root: Path) -> list[str]:
    """List the clips with `points.npz`.

    Raises:
        DataError: There are none.
    """
    return _names(root, ("points.npz",))


def load_points(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip with tracked points; each is prompted where it is first visible.

    Raises:
        DataError: Files are missing or malformed, or the numbers of places and of frames differ.
    """
    folder = inside(root, name)
    frames, file = open_frames(folder), folder / "points.npz"
    places, occluded = points.read_npz(file, ("points", "occluded"))
    truth = points.make_truth(
        *points.checked(file, places, occluded, len(frames.numbers), frames.size), frames.size
    )
    return make_clip(name, frames, prompt=points.queries(truth)), truth


def describe(clips: Sequence[Clip]) -> str:
    """What was found in a folder of clips: where their frames lie, whether they bring detections, their classes."""
    frames = [clip.frames for clip in clips]
    videos = sum(isinstance(one, VideoFrames) for one in frames)
    detected = sum(one.detections is not None for one in frames if isinstance(one, VideoFrames | ImageFrames))
    classes = dict.fromkeys(name for clip in clips for name in clip.vocabulary if name)
    parts = [f"frames are images in {len(clips) - videos} clips, a video in {videos}"]
    parts += [f"det/det.txt in {detected}"] if detected else []
    parts += [f"classes: {', '.join(classes)}"] if classes else []
    return "; ".join(parts)


def _names(root: Path, files: tuple[str, ...]) -> list[str]:
    clips = [one.name for one in subfolders(require_folder(root, "a folder for each clip"))]
    there = [one for one in clips if any((root / one / file).exists() for file in files)]
    _refuse_packed(root, clips, there, files)
    return found_clips(there, root, " or ".join(f"<clip>/{file}" for file in files))


def _refuse_packed(root: Path, folders: Sequence[str], clips: Sequence[str], files: Sequence[str]) -> None:
    """Refuse zip files, such as CVAT exports, that hold what makes a clip and lie where clips are looked for.

    Args:
        root: Folder of the clips.
        folders: Names of the folders in it.
        clips: Those that are clips.
        files: What makes a clip, from its folder.
    """
    packed = [(one, root / one.stem) for one in visible(root, "*.zip")]
    packed += [(one, root / name) for name in folders for one in visible(root / name, "*.zip")]
    for path, clip in packed:
        if clip.name not in clips and any(
            name == file or name.startswith(f"{file}/") for name in _members(path) for file in files
        ):
            command = f"unzip {quote(str(path))} -d {quote(str(clip))}"
            fail(path, "a clip in a zip file", f"expected its folder; unpack it: {command}")


def _members(path: Path) -> list[str]:
    """Names of what is in a zip file; none where it cannot be read as one."""
    try:
        with zipfile.ZipFile(path) as opened:
            return opened.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


def _is_davis(root: Path) -> bool:
    return (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir()


def _holds_masks(file: Path) -> bool:
    """Whether rows end in a mask: six words, of which the last is no number."""
    with file.open("rb") as opened:
        words = opened.readline().decode(errors="replace").split()
    return len(words) == 6 and not words[-1].replace(".", "").isdigit()


def _of_video(video: Video, fps: float | None) -> Frames:
    return Frames(video, fps or video.fps, video.size, tuple(range(1, len(video.times) + 1)))


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return folder.is_dir() and any(one.suffix.lower() in suffixes for one in visible(folder, "*"))


def _numbered(folder: Path, frames: Frames) -> dict[int, Path]:
    """Index of each frame of a video that has a mask -> the file; they count from 0 or 1, as the first of them says."""
    files = sorted(visible(folder, "*.png"), key=frame_number)
    if not files:
        fail(folder, "no masks", "expected 00000.png, ... with the ids of objects as values")
    first = min(frame_number(files[0]), 1)
    annotated = {frame_number(file) - first: file for file in files}
    if len(annotated) != len(files) or max(annotated) >= len(frames.numbers):
        found = f"masks {files[0].name} to {files[-1].name} for {len(frames.numbers)} frames"
        fail(folder, found, "expected one a frame at most, numbered from 0 or 1")
    return annotated
