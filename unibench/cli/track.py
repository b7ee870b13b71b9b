"""The command that runs a tracker on a video."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import ANY_PATH, DEVICE, OFFLINE, PLUGIN, OneLine, options

if TYPE_CHECKING:
    from unibench.datasets.own_clips import Frames
    from unibench.records import Clip
    from unibench.tasks.family import Task


@click.command()
@click.argument("source", metavar="VIDEO|FOLDER", type=ANY_PATH)
@options(
    click.option("-m", "--model", required=True, help="Model card: its name, or a file (DIR/NAME.toml)."),
    click.option("-t", "--task", "spec",
                 help="mot, sot, vos, mots, pose or points; or with a protocol, mot@qdtrack. Default: what the prompt "
                      "is for, else mot."),
    click.option("--prompt", metavar="BOX|FILE",
                 help="What to follow from the first frame on. sot: LEFT,TOP,RIGHT,BOTTOM in pixels. vos: mask.png, "
                      "whose values are ids. pose: joints.json, for each person [[x, y], ...]. points: X,Y;X,Y or "
                      "points.json, [[x, y], ...]."),
    click.option("--detections", metavar="FILE", type=ANY_PATH,
                 help="What frozen models link: rows of MOTChallenge (mot) or MOTS (mots)."),
    click.option("-o", "--out", type=ANY_PATH, help="The video with what is tracked drawn over it: .mp4, .mov, .mkv."),
    click.option("--save", type=ANY_PATH,
                 help="What is tracked. .txt: rows of OTB (sot), MOTChallenge (mot), MOTS (mots, vos). A folder: PNG "
                      "masks (vos, mots). .npz: TAP-Vid's arrays (points). .json: all of it."),
    click.option("--weights", "weights_path", type=ANY_PATH, help="Weights file, or the folder that holds it."),
    DEVICE,
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def track(
    source: Path, model: str, spec: str | None, prompt: str | None, detections: Path | None, out: Path | None,
    save: Path | None, weights_path: Path | None, device: str,
) -> None:  # fmt: skip
    """Run a tracker on a video file or a folder of images.

    Joint trackers find the objects themselves; frozen models follow a prompt, or link detections.
    """
    from unibench import models
    from unibench.cli import tracking
    from unibench.datasets import own_clips, prompts
    from unibench.evaluation import track as tracks
    from unibench.models import cards, frozen

    spec = spec or (prompts.family_of(prompt) if prompt else "mot")
    family = spec.partition("@")[0]
    if family not in tracks.FAMILIES:
        raise OneLine(f"-t {spec!r}: nothing to track in a video, expected {', '.join(tracks.FAMILIES)}")
    _check_places(source, family, out, save)
    frozen.find_device(device)
    opened = models.open(cards.find(model), weights_path, device)
    task = tracks.choose_task(spec, opened, prompt=bool(prompt), detections=bool(detections))
    frames = own_clips.open_frames(source)
    tracking.run(task, opened, _clip(source, frames, task, prompt, detections), frames, out, save)


def _check_places(source: Path, family: str, out: Path | None, save: Path | None) -> None:
    """Refuse what cannot be written before anything is computed."""
    from unibench.datasets import video
    from unibench.datasets.exchange import saving

    if out is None and save is None:
        raise OneLine("nothing to write; name a video with -o, or a file with --save")
    if not source.exists():
        raise OneLine(f"{source}: no such file or folder, expected a video or a folder of images")
    places = [one.resolve() for one in (source, out, save) if one is not None]
    if len(set(places)) < len(places):
        raise OneLine(f"{out or save}: the same as another path of this command; choose another name")
    if out is not None:
        video.require_writable(out)
    if save is not None:
        saving.find(family, save)


def _clip(
    source: Path, frames: "Frames", task: "Task", prompt: str | None, detections: Path | None
) -> "Clip":
    """The clip as the task's tracker is given it."""
    from unibench.datasets import motchallenge, mots, own_clips, prompts

    found = None
    if detections is not None and task.family.name == "mots":
        found = mots.read_detections(detections, frames.numbers, frames.size)
    elif detections is not None:
        found = motchallenge.read_detections(detections, frames.numbers)
    given = prompts.read_prompt(prompt, task.family.name, frames.size) if prompt else None
    return own_clips.make_clip(source.resolve().stem, frames, prompt=given, detections=found)
