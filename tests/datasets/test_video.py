"""Video files: every frame at its time, turned as the file says; damage is named."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import videos
from unibench.datasets import video
from unibench.errors import DataError, OutputError, UnibenchError


def read(path: Path) -> list[np.ndarray]:
    return [frame.image for frame in video.VideoFrames(video.open_video(path))()]


def test_frames_are_those_that_were_written_in_order(tmp_path: Path) -> None:
    written = videos.images()
    clip = video.video_clip("a", video.open_video(videos.write(tmp_path / "a.mp4", written)))
    assert (clip.height, clip.width, clip.fps, clip.length) == (48, 64, 25.0, 8)
    for _ in range(2):  # each call is a fresh pass
        frames = list(clip.frames())
        assert [frame.index for frame in frames] == list(range(8))
        for frame, image in zip(frames, written, strict=True):
            assert np.abs(frame.image.astype(int) - image).mean() < 12  # colours lose resolution


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.5, 0.6]
    found = video.open_video(videos.write(tmp_path / "a.mp4", videos.images(5), times))
    assert found.times == pytest.approx(times, abs=1e-4)
    with video.writing(tmp_path / "b.mkv", found.size, found.fps) as push:
        for frame, time in zip(video.VideoFrames(found)(), found.times, strict=True):
            push(frame.image, time)
    assert video.open_video(tmp_path / "b.mkv").times == pytest.approx(times, abs=2e-3)  # Matroska counts ms


def test_a_video_is_turned_as_it_says(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[:16, :16] = 255
    path = videos.write(tmp_path / "a.mp4", [image] * 3)
    assert read(path)[0][:12, :12].min() > 200
    videos.turn(path)
    assert video.open_video(path).size == (64, 48)
    turned = read(path)[0]
    assert turned.shape == (64, 48, 3)
    assert turned[:12, -12:].min() > 200  # the upper left corner is the upper right one
    assert turned[:12, :12].max() < 50


def test_an_odd_side_gets_one_pixel_more(tmp_path: Path) -> None:
    with video.writing(tmp_path / "a.mp4", (21, 33), 10.0) as push:
        push(np.full((21, 33, 3), 99, dtype=np.uint8), 0.0)
    assert video.open_video(tmp_path / "a.mp4").size == (22, 34)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".avi", "mpeg4", "yuv420p"),
        (".ts", "libx264", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".gif", "gif", "rgb8"),
        (".MKV", "ffv1", "yuv444p"),
        (".mpg", "mpeg2video", "yuv420p"),
    ],
)
def test_other_formats_have_as_many_frames(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for index, image in enumerate(videos.images(9)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = video.open_video(path)
    assert (found.size, found.fps) == ((48, 64), 25.0)
    assert found.times == pytest.approx(np.arange(9) / 25, abs=1e-3)
    assert len(read(path)) == 9


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mp4", videos.images(20))
    videos.damage(path)
    with pytest.raises(DataError, match=r"a\.mp4: frame [0-9]+ is damaged .*; write it again"):
        read(path)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mp4", videos.images(20))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"a\.mp4: frame 1[0-9] is cut off, expected 20 frames"):
        video.open_video(path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.mp4", None, "no such file"),
        ("a.pth", b"x", "not the name of a video file; expected one that ends in .mp4"),
        ("a.mp4", b"", "cannot be read as a video"),
        ("a.mp4", b"hello " * 100, "cannot be read as a video"),
        ("a.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "cannot be read as a video"),
        (
            "a.mkv",
            b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n#EXT-X-ENDLIST\n",
            "cannot be read as a video",
        ),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    videos.write(tmp_path / "other.mp4", videos.images(2))
    with pytest.raises(DataError, match=told) as error:
        video.open_video(tmp_path / name)
    assert "\n" not in str(error.value)


def test_frames_of_an_unknown_codec_are_refused(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mp4", videos.images(2))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xxxx"))
    with pytest.raises(DataError, match="frames of an unknown codec"):
        video.open_video(path)


def test_a_title_need_not_be_utf_8(tmp_path: Path) -> None:
    path = videos.write(tmp_path / "a.mp4", videos.images(2))
    content = path.read_bytes()
    assert b"Lavf" in content  # the name of the writer, as metadata
    path.write_bytes(content.replace(b"Lavf", b"\x8cvf\xff"))
    assert len(read(path)) == 2


def test_sound_without_frames_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="no video in it"):
        video.open_video(tmp_path / "a.mkv")


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(DataError, match="a video without frames"):
        video.open_video(tmp_path / "a.mkv")


def test_a_video_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def fail_midway() -> None:
        with video.writing(path, (48, 64), 25.0) as push:
            push(videos.images(1)[0], 0.0)
            raise DataError("no more frames")

    with pytest.raises(DataError, match="no more frames"):
        fail_midway()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_takes_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no video format ends in '\.avi'; there are: \.mp4"):
        video.require_writable(tmp_path / "a.avi")
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder, expected a file"):
        video.require_writable(tmp_path / "a.mp4")


def test_without_pyav_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = videos.write(tmp_path / "a.mp4", videos.images(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        UnibenchError, match=r"PyAV is not installed .*pip install 'unibench-tracking\[video\]'"
    ):
        video.open_video(path)
