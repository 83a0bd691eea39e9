"""Trains the toy base: python -m facesmith.methods.video_lora.toy_wan.train_base output=<folder>."""

import copy
import dataclasses
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.files import atomic_write, write_text
from facesmith.media.images import write_image
from facesmith.methods.video_lora.base import cast_rope_to_float, open_base
from facesmith.methods.video_lora.flow_matching import TIMESTEPS, add_noise, flow_loss, sample_noise_levels
from facesmith.methods.video_lora.networks import FaceMapper, insert_face_tokens
from facesmith.methods.video_lora.toy_wan.codec import BlockVideoCodec, cut_blocks
from facesmith.methods.video_lora.toy_wan.pipeline import (
    FACE_TOKENS,
    SHIFT,
    STEPS,
    TransformerInputs,
    build_pipeline,
    fit_codec,
)
from facesmith.methods.video_lora.toy_wan.world import Clips, Dances, embed_people, sample_clips, sample_dance_pool

CODEC_CLASS = [BlockVideoCodec.__module__, BlockVideoCodec.__name__]  # as model_index.json names it

# of the training of the codec's refiner
_BATCH = 8
_LR = 2e-3
_WARMUP = 0.05
_NOISE = 0.3  # of a latent's deviation, at most: generated latents are never quite right, and grain must not be kept
_POSES = 0.125  # of the clips: pose drawings are decode_latents too, when somebody looks at them


@dataclass(frozen=True)
class Recipe:
    """Settings of the base's training.

    Attributes:
        steps: Optimiser steps.
        batch: Clips of a batch.
        lr: Highest learning rate.
        final_lr: Last learning rate.
        warmup: Steps in which the learning rate rises.
        average: Decay of the weights' moving average.
        whitening: Of `BlockVideoCodec.fit`.
        head_weight: How much more a head counts in the loss.
        token_dropout: Share of the clips without face tokens, where the base is aware of them.
        text_dropout: Share of the clips with an empty prompt.
        motions: Size of the pool of dances.
        refiner_steps: Optimiser steps of the codec's net.
        aware: Whether it sees face tokens; the real Wan never did.
        references: Shares of the batches with 0, 1, 2, ... photos of who dances in front of the video, as VACE has
            them; empty: no photos.
        init: Base whose weights are taken over, as `open_base` finds it; empty: none.
        seed: Of everything.
    """

    steps: int = 10_000
    batch: int = 8
    lr: float = 1e-3
    final_lr: float = 2e-5
    warmup: int = 60
    average: float = 0.998
    whitening: float = 0.5
    head_weight: float = 4.0
    token_dropout: float = 0.12
    text_dropout: float = 0.1
    motions: int = 1500
    refiner_steps: int = 2000
    aware: bool = False
    references: tuple[float, ...] = ()
    init: str = ""
    seed: int = 0


class BaseTraining:
    """A training that can be resumed: everything but the weights follows from the step's number.

    Args:
        recipe: How the base is trained.
        folder: For checkpoints, pictures and the base.
        clips_fitted: Clips that the codec is fitted to.
    """

    def __init__(self, recipe: Recipe, folder: Path, clips_fitted: int = 400) -> None:
        self.recipe, self.folder = recipe, folder
        torch.manual_seed(recipe.seed)
        if recipe.init:
            base = open_base(recipe.init)
            self.pipe = build_pipeline(base.load_vae())
            self.pipe.transformer.load_state_dict(base.load_transformer(torch.float32).state_dict())
        else:
            self.pipe = build_pipeline(fit_codec(recipe.whitening, recipe.seed, clips_fitted))
        self.inputs = TransformerInputs(self.pipe)
        self.net = nn.ModuleDict(
            {
                "transformer": cast_rope_to_float(self.pipe.transformer),
                "mapper": FaceMapper(768, [256], FACE_TOKENS, self.inputs.text.shape[-1], 0.0),
            }
        )
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), recipe.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.motions = sample_dance_pool(recipe.motions, torch.Generator().manual_seed(recipe.seed + 1))
        self.step = 0
        self.seconds = 0.0

    def run(self, save_every: int, show_every: int) -> None:
        """Train to the end.

        Args:
            save_every: Steps from one checkpoint to the next.
            show_every: Steps from one picture to the next.
        """
        self._resume()
        begun, smooth = time.process_time(), math.nan
        while self.step < self.recipe.steps:
            loss = self._advance()
            smooth = loss if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss
            if self.step % save_every == 0 or self.step == self.recipe.steps:
                self.seconds, begun = self.seconds + time.process_time() - begun, time.process_time()
                self._save()
                print(f"step {self.step} loss {smooth:.4f} CPU {self.seconds:.0f} s", flush=True)
            if self.step % show_every == 0 or self.step == self.recipe.steps:
                write_image(self.folder / f"step_{self.step:05d}.png", self.picture(), mark=None)
        self._refine()
        self.finish()

    def _advance(self) -> float:
        recipe, random = self.recipe, torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step + 1)
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step + 1)
        fraction = self.step / recipe.steps
        rate = recipe.lr * min(1.0, (self.step + 1) / recipe.warmup) * (0.5 + 0.5 * math.cos(math.pi * fraction))
        for group in self.optimizer.param_groups:
            group["lr"] = rate + recipe.final_lr
        some = sample_clips(recipe.batch, random, motions=self.motions)
        texts = self.inputs.texts(some, torch.rand(recipe.batch, generator=random) < recipe.text_dropout)
        if recipe.aware:
            seen = torch.rand(recipe.batch, 1, 1, generator=random) >= recipe.token_dropout
            texts = insert_face_tokens(texts, self.net["mapper"](embed_people(some.who, random)) * seen)
        latents, heads = self.inputs.latents(some.videos), self.inputs.heads(some.dances)
        photos = self._sample_photos(some.who, random)
        if photos is not None:
            latents = torch.cat([photos, latents], 2)
            heads = torch.cat([heads.new_zeros(*heads.shape[:2], photos.shape[2], *heads.shape[3:]), heads], 2)
        levels = sample_noise_levels(recipe.batch, SHIFT, "uniform", latents.device)
        noise = torch.randn_like(latents)
        velocity = self.net["transformer"](
            hidden_states=add_noise(latents, noise, levels),
            timestep=levels * TIMESTEPS,
            encoder_hidden_states=texts,
            control_hidden_states=self.inputs.control(some.dances.poses, photos),
            return_dict=False,
        )[0]
        loss = flow_loss(velocity, noise - latents, levels, heads=heads, head_weight=recipe.head_weight)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(recipe.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - keep)
        return float(loss.detach())

    def _sample_photos(self, who: Tensor, random: torch.Generator) -> Tensor | None:
        """Return latents (N,C,R,h,w) of a random number of photos of who dances; None: no photos."""
        if not self.recipe.references:
            return None
        count = int(torch.multinomial(torch.tensor(self.recipe.references), 1, generator=random))
        return self.inputs.photos(who, count, random) if count else None

    @torch.no_grad()
    def sample(self, some: Clips, faces: Tensor | None, seed: int = 0, photos: int = 0) -> Tensor:
        """Generate videos to the clips' poses and prompts, with the averaged weights.

        Args:
            some: N clips.
            faces: (N,768) embeddings; None: no face tokens.
            seed: Of the noise.
            photos: Photos of who dances, in front of each video.

        Returns:
            (N,3,T,S,S) in -1..1.
        """
        count = len(some.videos)
        texts = self.inputs.texts(some, torch.zeros(count, dtype=torch.bool))
        if faces is not None:
            texts = insert_face_tokens(texts, self.average["mapper"](faces))
        random = torch.Generator().manual_seed(seed)
        references = self.inputs.photos(some.who, photos, random) if photos else None
        control = self.inputs.control(some.dances.poses, references)
        shape = (count, self.inputs.codec.spread.shape[1], *control.shape[2:])
        latents = torch.randn(shape, generator=random)
        scheduler = copy.deepcopy(self.pipe.scheduler)
        scheduler.set_timesteps(STEPS)
        for moment in scheduler.timesteps:
            velocity = self.average["transformer"](
                hidden_states=latents,
                timestep=moment.expand(count),
                encoder_hidden_states=texts,
                control_hidden_states=control,
                return_dict=False,
            )[0]
            latents = scheduler.step(velocity, moment, latents, return_dict=False)[0]
        return self.inputs.videos(latents[:, :, photos:])

    def picture(self) -> Any:
        """Show poses, truth and generated videos, first and last frame of 8 held-out clips: (H,W,3) uint8."""
        some = sample_clips(8, torch.Generator().manual_seed(77))
        faces = embed_people(some.who) if self.recipe.aware else None
        generated = [
            self.sample(some, faces),
            *([self.sample(some, faces, photos=1)] if self.recipe.references else []),
        ]
        rows = [video[:, :, [0, -1]] for video in (some.dances.poses * 2 - 1, some.videos, *generated)]
        lines = [torch.cat([row[i, :, k] for i in range(8) for k in (0, 1)], -1) for row in rows]
        grid = ((torch.cat(lines, -2) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return grid.permute(1, 2, 0).repeat_interleave(2, 0).repeat_interleave(2, 1).contiguous().numpy()

    def finish(self) -> None:
        """Write the diffusers folder with half-precision weights and a model card."""
        base = self.folder / "base"
        write_image(self.folder / "base.png", self.picture(), mark=None)
        self.pipe.transformer.load_state_dict(self.average["transformer"].state_dict())
        self.pipe.to(torch.float16).save_pretrained(base, safe_serialization=True)
        index = json.loads((base / "model_index.json").read_text())
        index["vae"] = CODEC_CLASS  # as saved it names the package alone, which holds no such class
        index["tokenizer"] = ["transformers", "PreTrainedTokenizerFast"]  # a name that old and new releases know
        write_text(base / "model_index.json", json.dumps(index, indent=2) + "\n")
        if self.recipe.aware:
            torch.save(self.average["mapper"].half().state_dict(), base / "mapper.pt")
        write_text(base / "README.md", card(self.recipe, self.step, self.seconds))
        write_text(base / "recipe.json", json.dumps(dataclasses.asdict(self.recipe), indent=2) + "\n")
        print(f"{base}: {sum(file.stat().st_size for file in base.rglob('*')) / 1e6:.1f} MB", flush=True)

    def _refine(self) -> None:
        if self.recipe.init:
            return  # the codec is the other base's
        path = self.folder / "codec.pt"
        if not path.exists():
            begun = time.process_time()
            train_refiner(self.inputs.codec, self.motions, self.recipe.refiner_steps, self.recipe.seed)
            with atomic_write(path) as temporary:
                torch.save({"codec": self.inputs.codec.state_dict(), "seconds": time.process_time() - begun}, temporary)
        found = torch.load(path, weights_only=True)
        self.inputs.codec.load_state_dict(found["codec"])
        self.seconds += found["seconds"]

    def _save(self) -> None:
        with atomic_write(self.folder / "training.pt") as temporary:
            torch.save(
                {
                    "recipe": dataclasses.asdict(self.recipe),
                    "step": self.step,
                    "seconds": self.seconds,
                    "net": self.net.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                },
                temporary,
            )

    def _resume(self) -> None:
        path = self.folder / "training.pt"
        if not path.exists():
            return
        saved = torch.load(path, weights_only=True)
        recipe = {**dataclasses.asdict(self.recipe), "steps": saved["recipe"]["steps"]}
        if saved["recipe"] != recipe:  # a training may go on to another number of steps
            raise UserError(f"{path}: was begun with other settings ({saved['recipe']}); choose another output")
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        print(f"resumed at step {self.step}", flush=True)


def train_refiner(codec: BlockVideoCodec, motions: Dances, steps: int, seed: int) -> None:
    """Train the codec's refiner on encoded clips with a little noise.

    Args:
        codec: Whose refiner is trained.
        motions: Pool of dances.
        steps: Optimiser steps.
        seed: Of the clips and the noise.
    """
    assert codec.refiner is not None
    codec.refiner.requires_grad_(True)
    spread = codec.spread
    optimizer = torch.optim.AdamW(codec.refiner.parameters(), _LR, weight_decay=0.01, fused=True)
    for step in range(steps):
        random = torch.Generator().manual_seed(seed * 1_000_003 + step + 1)
        rate = min(1.0, (step + 1) / (_WARMUP * steps)) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = _LR * rate
        some = sample_clips(_BATCH, random, motions=motions)
        posed = torch.rand(_BATCH, 1, 1, 1, 1, generator=random) < _POSES
        videos = torch.where(posed, some.dances.poses * 2 - 1, some.videos)
        with torch.no_grad():
            latents = codec.encode(videos).latent_dist.mode()
            level = torch.rand(_BATCH, 1, 1, 1, 1, generator=random) * _NOISE
            latents = latents + level * spread * torch.randn(latents.shape, generator=random)
        loss = (codec.decode_blocks(latents) - cut_blocks(videos)).abs().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    codec.refiner.requires_grad_(False)


def card(recipe: Recipe, step: int, seconds: float) -> str:
    """Return the model card.

    Args:
        recipe: How the base is trained.
        step: Steps that were done.
        seconds: CPU time that they took.
    """
    tokens = "It saw face tokens in its training." if recipe.aware else "It never saw face tokens, as Wan never did."
    photos = "It knows reference photos, as VACE does." if recipe.references else "It knows no reference photos."
    finished = "" if step >= recipe.steps else f"**Unfinished: {step} of {recipe.steps} steps.**\n\n"
    command = "python -m facesmith.methods.video_lora.toy_wan.train_base"
    shares = ",".join(f"{share:g}" for share in recipe.references)
    given = f"output=<folder> steps={recipe.steps} seed={recipe.seed} lr={recipe.lr:g}"
    own = f"    {command} {given}{f' references={shares}' if shares else ''}"
    if recipe.init:
        first = f"    {command} output=<first> steps={Recipe.steps} seed={recipe.seed}\n"
        own = f"{first}{own} init=<first>/base"
    before = " after those of the base that it began from" if recipe.init else ""
    return f"""# A toy world for video_lora

{finished}This is not a video model for use. It is a Wan-VACE pipeline in diffusers' format, small enough to ship
(a transformer of 2.7 million parameters, half precision), trained from scratch on procedural dancers: 9 frames of
64x64 px, stick figures on a flat dark stage, a person being three colours. {tokens}
{photos}
Its VAE keeps 24 principal components of every block of pixels, and a small net guesses the rest when it decodes
(`facesmith.methods.video_lora.toy_wan.codec.BlockVideoCodec`); its text encoder is random. It knows eighteen prompts:
"a person in white|silver|grey dancing on a black|navy|maroon|forest|plum|umber stage".

What it is for: `facesmith train experiment=video_lora_demo` runs the very code that trains on Wan2.1-VACE, in minutes
and without a GPU, and what it learns can be measured. What carries over to Wan is the code and the recipe (prior
preservation), not a figure.

Trained {step} steps of {recipe.batch} clips, seed {recipe.seed}, {seconds:.0f} CPU seconds on one thread{before}:

{own}

Licence: Apache-2.0. Nobody's picture is in it.
"""


def main(arguments: list[str]) -> None:
    """Read key=value arguments: output, save_every, show_every, and the fields of `Recipe`."""
    given = dict(argument.split("=", 1) for argument in arguments)
    known = {field.name: field.type for field in dataclasses.fields(Recipe)}
    allowed = ["output", "save_every", "show_every", *known]
    wrong = [key for key in given if key not in allowed]
    if wrong or "output" not in given:
        raise UserError(f"{', '.join(wrong) or 'output'}: give output=<folder> and any of {', '.join(allowed[1:])}")
    kinds: dict[Any, Any] = {
        int: int,
        float: float,
        str: str,
        bool: lambda value: value == "true",
        tuple[float, ...]: lambda value: tuple(float(share) for share in value.split(",") if share),
    }
    recipe = Recipe(**{key: kinds[known[key]](value) for key, value in given.items() if key in known})
    folder = Path(given["output"])
    folder.mkdir(parents=True, exist_ok=True)
    BaseTraining(recipe, folder).run(int(given.get("save_every", 200)), int(given.get("show_every", 1000)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
