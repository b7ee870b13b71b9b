"""Video files, read and written frame by frame by PyAV (the extra `video`), which is imported only then."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from jaxtyping import Float, UInt8

from unibench.datasets.files import fail
from unibench.errors import OutputError, UnibenchError
from unibench.records import Clip, Frame, Labels
from unibench.results.atomic import replacing

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp",
    ".gif", ".y4m",
)  # fmt: skip
"""How the name of a video file may end."""
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,gif,yuv4mpegpipe"
"""What such a file may hold: no list of other files or addresses, which FFmpeg would open."""
WRITTEN = {".mp4": "mp4", ".mov": "mov", ".m4v": "mp4", ".mkv": "matroska"}
"""How the name of a video file that is written may end -> its format; all hold H.264."""
_CODEC = "libx264"
_TICKS = 90_000
"""Of a second, in which the times of written frames are kept."""
_FPS = 25.0
"""Frames per second where a file does not say."""
_REPAIR = "write it again, for instance with: ffmpeg -i IN -c:v libx264 OUT.mp4"


@dataclass(frozen=True, eq=False)
class Video:
    """What a video file says of itself."""

    path: Path
    size: tuple[int, int]
    """(height, width) of a frame in pixels, as it is shown: turned as the file says."""
    fps: float
    """Frames per second, the mean where the rate varies."""
    times: Float[np.ndarray, " frame"]
    """When each frame is shown: seconds after the first."""


@dataclass(frozen=True, eq=False)
class VideoFrames:
    """The frames of a clip in a video file; calling it starts a fresh pass."""

    video: Video
    prompts: Mapping[int, Labels] = field(default_factory=dict)
    """Index of a frame -> its prompt."""
    detections: tuple[Labels, ...] | None = None
    """Detections of each frame that come with the clip; None: there are none."""

    def __call__(self) -> Iterator[Frame]:
        """Decode the frames one after the other.

        Raises:
            DataError: A frame is damaged, missing, or of another size than the first.
        """
        for index, image in enumerate(_images(self.video)):
            found = Labels() if self.detections is None else self.detections[index]
            yield Frame(index, image, prompt=self.prompts.get(index, Labels()), detections=found)


def video_clip(
    name: str,
    video: Video,
    *,
    fps: float | None = None,
    prompt: Labels | Mapping[int, Labels] | None = None,
    detections: tuple[Labels, ...] | None = None,
    vocabulary: tuple[str, ...] = (),
) -> Clip:
    """Make a clip of a video file.

    Args:
        name: The clip's name.
        video: The file.
        fps: Frames per second; None: as the file says.
        prompt: Of frame 0, or of each of several frames.
        detections: Detections of each frame, if there are any.
        vocabulary: Names of the object classes.
    """
    prompts = {0: prompt} if isinstance(prompt, Labels) else prompt or {}
    return Clip(
        name,
        *video.size,
        fps or video.fps,
        len(video.times),
        VideoFrames(video, prompts, detections),
        vocabulary,
        (video.path,),
    )


def open_video(path: Path) -> Video:
    """Read what a video file says of itself, and the time of every frame; only the first frame is decoded.

    Raises:
        UnibenchError: PyAV is not installed.
        DataError: The file is missing, no video, cut off, or without frames.
    """
    if not path.is_file():
        fail(path, "no such file", "expected a video file")
    if path.suffix.lower() not in SUFFIXES:
        fail(path, "not the name of a video file", f"expected one that ends in {', '.join(SUFFIXES)}")
    with _opened(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or _FPS)
        times = _times(path, container, stream, fps)
    with _opened(path) as (container, stream):
        try:
            first = next(container.decode(stream), None)
        except _broken() as error:
            fail(path, f"frame 0 cannot be decoded ({_reason(error)})", _REPAIR)
        if first is None:
            fail(path, "no frame can be decoded", _REPAIR)
        height, width, _ = _shown(first).shape
    return Video(path, (height, width), fps, times)


def require_writable(path: Path) -> None:
    """Refuse a path to which no video can be written.

    Raises:
        UnibenchError: PyAV is not installed.
        OutputError: The suffix is not known, or it is a folder.
    """
    require_av()
    if path.suffix.lower() not in WRITTEN:
        raise OutputError(f"{path}: no video format ends in {path.suffix!r}; there are: {', '.join(WRITTEN)}")
    if path.is_dir():
        raise OutputError(f"{path}: a folder, expected a file; choose another name")


@contextmanager
def writing(
    path: Path, size: tuple[int, int], fps: float
) -> Iterator[Callable[[UInt8[np.ndarray, "height width 3"], float], None]]:
    """Write a video file, which is there when the block ends, whole or not at all.

    Args:
        path: Ends in one of `WRITTEN`.
        size: (height, width) of its frames in pixels; an odd side gets one pixel more, as H.264 needs.
        fps: Frames per second, for players that ask; each frame has a time of its own.

    Yields:
        A function that takes the next frame (RGB, 0 to 255) and its time in seconds.

    Raises:
        UnibenchError: PyAV is not installed.
        OutputError: The file cannot be written.
    """
    av = require_av()
    height, width = size
    try:
        with (
            replacing(path) as part,
            av.open(str(part), "w", format=WRITTEN[path.suffix.lower()]) as container,
        ):
            stream = container.add_stream(_CODEC, rate=Fraction(fps).limit_denominator(1001))
            stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            stream.codec_context.time_base = Fraction(1, _TICKS)

            def push(image: UInt8[np.ndarray, "height width 3"], time: float) -> None:
                even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                frame = av.VideoFrame.from_ndarray(even, format="rgb24")
                frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
                container.mux(stream.encode(frame))

            yield push
            container.mux(stream.encode(None))
    except _broken() as error:
        raise OutputError(
            f"{path}: cannot be written ({_reason(error)}); choose another place with -o"
        ) from error


def require_av() -> Any:
    """Import PyAV.

    Raises:
        UnibenchError: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UnibenchError(
            f"video files: PyAV is not installed ({error}), expected the extra `video`; "
            "pip install 'unibench-tracking[video]', or give a folder of images"
        ) from error
    return av


def _times(
    path: Path, container: "InputContainer", stream: "VideoStream", fps: float
) -> Float[np.ndarray, " frame"]:
    """When each frame is shown: seconds after the first. Packets are read, and no frame is decoded."""
    found: list[int | None] = []
    packets = 0
    for packet in container.demux(stream):
        if packet.dts is None and packet.pts is None and packet.size == 0:  # ends the stream
            continue
        if packet.is_corrupt:
            expected = f", expected {stream.frames} frames" if stream.frames else ""
            fail(path, f"frame {len(found)} is cut off{expected}", "copy or fetch the file again")
        packets += 1
        if packet.size and not packet.is_discard:  # neither empty nor outside the part that the file shows
            found.append(packet.dts if packet.pts is None else packet.pts)
    if not found:
        fail(path, "a video without frames, expected at least one", "choose another file")
    if packets < stream.frames:
        fail(
            path, f"{packets} frames, expected {stream.frames}", "the file is cut off: copy or fetch it again"
        )
    if stream.time_base is None or any(one is None for one in found):
        return np.arange(len(found)) / fps
    ticks = np.sort(np.array(found, dtype=np.int64))
    seconds: np.ndarray = (ticks - ticks[0]) * float(stream.time_base)
    return seconds


def _images(video: Video) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The frames as they are shown, in order: RGB, 0 to 255."""
    count = 0
    with _opened(video.path) as (container, stream):
        for packet in container.demux(stream):
            for frame in _decode(video, packet, count):
                image = _shown(frame)
                if frame.is_corrupt or count >= len(video.times):
                    problem = "damaged" if frame.is_corrupt else "one more than its packets"
                    fail(video.path, f"frame {count} is {problem}", _REPAIR)
                if image.shape[:2] != video.size:
                    height, width = video.size
                    found = f"frame {count} is {image.shape[1]}x{image.shape[0]} pixels"
                    fail(video.path, f"{found}, expected {width}x{height} as frame 0", _REPAIR)
                yield image
                count += 1
    if count < len(video.times):
        fail(video.path, f"{count} frames can be decoded, expected {len(video.times)}", _REPAIR)


def _decode(video: Video, packet: Any, count: int) -> "list[VideoFrame]":
    """The frames that a packet completes; it may hold parts of a later one than the next."""
    try:
        frames: list[VideoFrame] = packet.decode()
    except _broken() as error:
        start = packet.stream.start_time or 0
        at = count
        if packet.pts is not None and packet.time_base is not None:
            seconds = float((packet.pts - start) * packet.time_base)
            at = int(np.argmin(np.abs(video.times - seconds)))
        fail(video.path, f"frame {at} is damaged ({_reason(error)})", _REPAIR)
    return frames


def _shown(frame: "VideoFrame") -> UInt8[np.ndarray, "height width 3"]:
    """A frame's pixels, turned as the file says."""
    image: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4  # counted counterclockwise, as numpy does
    shown: np.ndarray = np.ascontiguousarray(np.rot90(image, turns))  # no copy where there is no turn
    return shown


@contextmanager
def _opened(path: Path) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """A video file and its first stream of frames; what FFmpeg says of damage becomes a DataError."""
    av = require_av()
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        with av.open(str(path.resolve()), options=options, metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic
            streams = [one for one in container.streams.video if not one.disposition & cover]
            if not streams:
                fail(path, "no video in it", "expected a file with frames")
            if streams[0].codec_context is None:
                fail(path, "frames of an unknown codec", _REPAIR)
            streams[0].codec_context.options = {"err_detect": "explode"}  # named, never concealed
            yield container, streams[0]
    except _broken() as error:
        _refuse(path, error)


def _broken() -> tuple[type[Exception], ...]:
    """What PyAV raises at files that it cannot read or write."""
    av = require_av()
    return (av.error.FFmpegError, OSError)


def _refuse(path: Path, error: Exception) -> NoReturn:
    if isinstance(error, EOFError):
        fail(path, "a video without frames, expected at least one", "choose another file")
    fail(path, f"cannot be read as a video ({_reason(error)})", "expected a whole video file")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120]
