import json

import numpy as np
import pytest
from skimage.data import astronaut

from facesmith.errors import UserError
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face_set.config import SelectionConfig
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import write_image
from facesmith.media.video import open_video
from facesmith.tasks.profiles.combine import BlendTask, EnrichTask, InterpolateTask
from facesmith.tasks.profiles.config import EmbedTaskConfig, EnrichTaskConfig
from facesmith.tasks.profiles.embed import EmbedTask

SELECTION = {"min_score": 0.6, "min_size": 30.0, "min_sharpness": 1.0}
SELECTION |= {"max_yaw": 60.0, "max_pitch": 45.0, "min_similarity": 0.3}


def analyzer() -> MediaPipeAnalyzer:
    return MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)


@pytest.fixture(scope="module")
def places(tmp_path_factory, asset):
    """Three pictures of the man, two more of him, one of the astronaut, and profiles of both."""
    root = tmp_path_factory.mktemp("embed")
    wanted = {0: "man", 40: "man", 80: "man", 60: "more", 100: "more"}
    with open_video(asset("carphone_pristine.mp4")) as reader:
        for index, frame in reader.frames(sorted(wanted)):
            big = np.repeat(np.repeat(frame, 2, 0), 2, 1)
            write_image(root / wanted[index] / f"{index}.png", big, mark=None)
    write_image(root / "woman" / "0.png", astronaut(), mark=None)
    for name in ("man", "woman"):
        embed(root, name).run()
    return root


def embed(root, name, **changes):
    settings = {"source": str(root / name), "output": None, "name": name, "aggregation": "weighted_mean"}
    settings |= {"consent": "licensed", "consent_note": None, "expires": "2031-01-31", "max_frames": 20}
    settings |= {
        "strangers": "leave_out",
        "selection": SelectionConfig(**SELECTION),
        "face_sets": root / "sets",
        "profiles": root / "profiles",
    }
    config = EmbedTaskConfig(
        _target_="facesmith.tasks.profiles.embed.EmbedTask",
        per_image=None,
        encoder=None,
        backend="pyav",
        **(settings | changes),
    )
    return EmbedTask(config, analyzer=analyzer, progress=False)


def test_embed_task_photos_become_profile(places):
    man, woman = (IdentityProfile.load(places / "profiles" / f"{name}.json") for name in ("man", "woman"))
    assert (man.num_frames, man.embedder, man.consent, man.expires) == (3, "sface", "licensed", "2031-01-31")
    assert man.quality_stats["avg_similarity"] > 0.8
    assert float(man.mean @ woman.mean) < 0.3
    meta = [json.loads(p.read_text()) for p in (places / "sets" / "man").glob("*/meta.json")]
    assert [m["key"] for m in meta] == [man.face_set]


def test_embed_task_aggregations_agree(places):
    means = []
    for method in ("mean", "weighted_mean", "median"):
        (path,) = embed(places, "man", aggregation=method, output=places / f"{method}.json").run()
        means.append(IdentityProfile.load(path).mean)
    assert (np.stack(means) @ np.stack(means).T).min() > 0.98
    assert not np.array_equal(means[0], means[2])


def test_embed_task_existing_profile_is_refused(places):
    with pytest.raises(UserError, match="exists already"):
        embed(places, "man")


def test_blend_and_interpolate_tasks_lie_between_parents(places, capsys):
    paths = [str(places / "profiles" / f"{name}.json") for name in ("man", "woman")]
    common = {"source": paths, "profiles": places / "profiles", "output": None}
    BlendTask(**common, name="both", weights=[0.8, 0.2]).run()
    InterpolateTask(**common, name="between", t=0.5).run()
    man, woman, both, between = (
        IdentityProfile.load(places / "profiles" / f"{name}.json") for name in ("man", "woman", "both", "between")
    )
    assert both.mean @ man.mean > 0.9 > both.mean @ woman.mean > woman.mean @ man.mean
    assert between.mean @ man.mean == pytest.approx(between.mean @ woman.mean, abs=1e-5)
    assert both.ancestors == ["man", "woman"]
    assert "both, similarity to man 0." in capsys.readouterr().out
    with pytest.raises(UserError, match="needs two profiles or more"):
        BlendTask(**(common | {"source": paths[0]}), name="x", weights=None)
    with pytest.raises(UserError, match="needs two profiles;"):
        InterpolateTask(**(common | {"source": [*paths, paths[0]]}), name="x", t=0.5)


def test_enrich_task_same_person_adds_other_person_is_refused(places):
    settings = {"profile": places / "profiles" / "man.json", "output": places / "richer.json"}
    settings |= {"consent": None, "consent_note": None, "min_similarity": {"sface": 0.36}, "max_frames": 20}
    settings |= {"selection": SelectionConfig(**SELECTION), "face_sets": places / "sets", "backend": "pyav"}

    def task(source):
        config = EnrichTaskConfig(
            _target_="facesmith.tasks.profiles.combine.EnrichTask", source=str(places / source), **settings
        )
        return EnrichTask(config, analyzer=analyzer, progress=False)

    task("more").run()
    man, richer = IdentityProfile.load(places / "profiles" / "man.json"), IdentityProfile.load(places / "richer.json")
    assert (richer.id, richer.num_frames, richer.expires) == ("man", 5, "2031-01-31")
    assert 0.95 < richer.mean @ man.mean < 1
    with pytest.raises(UserError, match="shows somebody else"):
        task("woman").run()
    assert len(list((places / "sets" / "man").glob("*/meta.json"))) == 2
    with pytest.raises(UserError, match="in man already"):
        task("man").run()
