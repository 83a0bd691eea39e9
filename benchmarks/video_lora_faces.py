"""Does the LoRA learn the face, and does face_scale mean something? People of the toy world, none seen by the base.

python benchmarks/video_lora_faces.py [people=5] [seeds=2] [output=<folder>] [key=value of the demo experiment ...]

Trains each person with each seed as the demo does, draws 12 dances nobody trained on at every lora and face scale,
and prints means over trials: projection on the person (0 the mean person, 1 the person), rank of the person among 11,
overlap of the body with the true dance. The base alone is the row of lora_scale 0, face_scale 0.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from torch import Tensor

from facesmith.config import TrainConfig, validate
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.quiet import quiet_libraries
from facesmith.video_lora.adapter import set_lora_scale
from facesmith.video_lora.networks import with_face_tokens
from facesmith.video_lora.sampling import control_of, decoded, sampled, start_noise
from facesmith.video_lora.texts import padded
from facesmith.video_lora.tiny import faces
from facesmith.video_lora.tiny.dancers import people, portraits
from facesmith.video_lora.tiny.demo import person
from facesmith.video_lora.tiny.world import Clips, Tables, clips

FACE_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
LORA_SCALES = (0.0, 0.5, 1.0)
DANCES = 12
DISTRACTORS = 10


def settings(folder: Path, overrides: list[str]) -> TrainConfig:
    conf = Path(__file__).parents[1] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", ["experiment=video_lora_demo", *overrides], return_hydra_config=True)
    OmegaConf.set_readonly(cfg.hydra, False)
    cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    return validate(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]), TrainConfig)


def trained(config: TrainConfig) -> tuple[Any, Any]:
    lightning.seed_everything(config.seed, verbose=False)
    data, module = config.data.build(), config.model.build()
    freeze = config.callbacks["freeze_mapper"]
    assert freeze is not None
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=config.trainer.max_epochs,
        gradient_clip_val=config.trainer.gradient_clip_val,
        callbacks=[freeze.build()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, data)
    return data, module.eval()


class Trial:
    """One person's networks, asked for dances that nobody trained on."""

    def __init__(self, data: Any, module: Any, tables: Tables, some: Clips) -> None:
        self.module, self.tables, self.some = module, tables, some
        self.face = data.references.identity[None]
        self.steps = module.config.validation.steps
        poses = (some.dances.poses * 255).round().to(torch.uint8)
        self.poses = poses.permute(0, 2, 3, 4, 1).numpy()
        self.control = control_of(tables.latents(poses.float() / 127.5 - 1), tables.blank, module.base.side)
        texts = [padded(data.cache.read(path)["rows"], data.config.text_length) for path in self._texts(data)]
        self.text = torch.stack(texts)

    def _texts(self, data: Any) -> list[Path]:
        from facesmith.video_lora.texts import cached_texts

        return cached_texts(data.base, data.cache, self.some.prompts, data.config.text_length, 4, False)

    @torch.no_grad()
    def drawn(self, lora_scale: float, face_scale: float, face: Tensor | None = None) -> np.ndarray:
        """Give (N,T,H,W,3) uint8."""
        module = self.module
        set_lora_scale(module.transformer, lora_scale)
        tokens = face_scale * module.mapper(self.face if face is None else face).expand(DANCES, -1, -1)
        shape = (DANCES, module.base.channels, *self.control.shape[2:])
        latents = sampled(
            module.transformer,
            module.base.scheduler(),
            noise=start_noise(shape, list(range(100, 100 + DANCES)), self.control.device),
            control=self.control,
            text=with_face_tokens(self.text, tokens),
            steps=self.steps,
        )
        return decoded(self.tables.codec, latents).numpy()


def fields(who: Tensor) -> Tensor:
    pictures = (portraits(who) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return faces.portrait_fields(pictures)


def figures(
    videos: np.ndarray, truth: np.ndarray, poses: np.ndarray, target: Tensor, others: Tensor
) -> dict[str, float]:
    judge = faces.DancerJudge()
    found = []
    for frames, true, pose in zip(videos, truth, poses, strict=True):
        boxes = judge.boxes(frames, pose)
        head = faces.head_fields(torch.from_numpy(frames), torch.from_numpy(boxes))
        own = faces.compared(head, target)
        better = sum(faces.compared(head, other)["likeness"] > own["likeness"] for other in others)
        found.append({**own, "rank": 1.0 + better, "iou": faces.body_overlap(frames, true, boxes)})
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def main(arguments: list[str]) -> None:
    given = {"people": "5", "seeds": "2", "output": ""}
    overrides = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in given:
            given[key] = value
        else:
            overrides.append(argument)
    quiet_libraries()
    output = Path(given["output"] or tempfile.mkdtemp(prefix="video_lora_faces_"))
    some = clips(DANCES, torch.Generator().manual_seed(77_001))
    others = fields(people(DISTRACTORS, torch.Generator().manual_seed(77_002)))
    rows: dict[str, list[dict[str, float]]] = {}
    tables = None
    for number in range(int(given["people"])):
        who = person(number)
        target = fields(who[None])[0]
        for seed in range(int(given["seeds"])):
            run = [f"data.person={number}", f"seed={seed}", f"paths.face_sets={output / 'sets'}", *overrides]
            data, module = trained(settings(output, ["data.progress=false", *run]))
            if tables is None:
                from diffusers import WanVACEPipeline

                base = module.base
                tables = Tables(WanVACEPipeline(base.tokenizer(), base.text_encoder(), base.codec(), base.scheduler()))
            trial = Trial(data, module, tables, some)
            shown = clips(DANCES, torch.Generator().manual_seed(77_001), who)
            truth = ((shown.videos + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
            strips = [trial.poses, truth]
            for lora_scale in LORA_SCALES:
                for face_scale in FACE_SCALES if lora_scale else (0.0, 1.0):
                    videos = trial.drawn(lora_scale, face_scale)
                    rows.setdefault(f"{lora_scale:g} {face_scale:g}", []).append(
                        figures(videos, truth, trial.poses, target, others)
                    )
                    if (lora_scale, face_scale) == (0.0, 0.0) or lora_scale == 1:
                        strips.append(videos)
            picture = np.concatenate(
                [np.concatenate([v[i][f] for i in range(6) for f in (0, 8)], 1) for v in strips], 0
            )
            mark = Mark(identity="dancer", consent="synthetic", model_hash=None, title="benchmark", kind="generated")
            write_image(output / f"person_{number}_seed_{seed}.png", picture.repeat(2, 0).repeat(2, 1), mark=mark)
            print(f"person {number} seed {seed}: {rows['1 1'][-1]}", flush=True)
    (output / "figures.json").write_text(json.dumps(rows, indent=1))
    print(
        f"\n{len(rows['1 1'])} trials; lora_scale, face_scale: projection (lowest .. highest), cosine, worst rank, IoU"
    )
    for name, found in rows.items():
        projections = [one["projection"] for one in found]
        print(
            f"{name:>9}: {np.mean(projections):6.3f} ({min(projections):.2f} .. {max(projections):.2f}) "
            f"{np.mean([one['likeness'] for one in found]):6.3f} {max(one['rank'] for one in found):5.2f} "
            f"{np.mean([one['iou'] for one in found]):.3f}"
        )
    print(f"pictures (poses, truth, base, face_scale {FACE_SCALES}) and figures: {output}")


if __name__ == "__main__":
    main(sys.argv[1:])
