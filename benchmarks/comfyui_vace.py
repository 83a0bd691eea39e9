"""Does ComfyUI draw the person as facesmith does? By ComfyUI's own code, on the toy base and a CPU.

python benchmarks/comfyui_vace.py comfyui=<folder> model=<run>/exports output=<folder> [person=0] [dances=4] [trigger=]
    [dtype=float32|bfloat16|float16|float8]

`comfyui` is a checkout of ComfyUI whose requirements are installed, `model` a person of the toy world, as
`experiment=video_lora_demo` trains it with or without `model.gate_tokens=false data.trigger=woman`. The person is
exported with to=comfyui; ComfyUI loads its text encoder, its VaceWanModel and the LoRA, and draws dances nobody trained
on by its nodes: the one of the face tokens, LoraLoaderModelOnly, ModelSamplingSD3, WanVaceToVideo, KSampler. Prints how
far single answers and whole videos are from those of diffusers in facesmith, and the projection on the person (0 the
mean person, 1 the person) in both. The toy base has 24 channels in its latents where Wan has 16, so its codec stands in
for ComfyUI's VAE and its latents are normalised there. `dtype` is that of ComfyUI's weights; facesmith stays in
float32.
"""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import WanVACETransformer3DModel
from peft.utils import get_peft_model_state_dict
from torch import Tensor

from facesmith.methods.video_lora.adapter_bundle import AdapterBundle, load_bundle
from facesmith.methods.video_lora.base import Base, open_base
from facesmith.methods.video_lora.export import convert_lora
from facesmith.methods.video_lora.generation import GenerationConfig, VideoGenerator, load_adapter
from facesmith.methods.video_lora.lora import (
    NAME,
    PREFIX,
    add_lora,
    extract_lora,
    save_comfy,
    set_lora_scale,
    to_comfy,
)
from facesmith.methods.video_lora.lora_families import LAYERS, OUTER
from facesmith.methods.video_lora.networks import insert_face_tokens
from facesmith.methods.video_lora.references import letterbox
from facesmith.methods.video_lora.text_encoding import encode_prompts
from facesmith.methods.video_lora.toy_wan.data import demo_person
from facesmith.methods.video_lora.toy_wan.world import sample_clips
from facesmith.training.run.log import silence_libraries
from video_lora_faces import STAGE, distractors, fields, figures, sheet, split, truth_of
from wan_layouts import LAYOUTS, TARGETS

NEGATIVE = "blurry distorted"
STEPS = 8
DTYPES = {  # of ComfyUI's weights, and what it computes in where that is another
    "float32": (torch.float32, None),
    "bfloat16": (torch.bfloat16, None),
    "float16": (torch.float16, None),
    "float8": (torch.float8_e4m3fn, torch.bfloat16),
}


class Setting(NamedTuple):
    """What both programs are asked for."""

    face_scale: float = 1.0
    lora_scale: float = 1.0
    photos: int = 0
    cfg_scale: float = 1.0
    scheduler: str = "normal"
    """Of ComfyUI; `normal` has the noise levels of diffusers' Euler sampler, `simple` others."""


SETTINGS = {
    "base": Setting(0.0, 0.0),
    "face_scale 0": Setting(0.0),
    "face_scale 0.5": Setting(0.5),
    "face_scale 1": Setting(),
    "and a photo": Setting(photos=1),
    "cfg 3": Setting(cfg_scale=3.0),
    "scheduler simple": Setting(scheduler="simple"),
}
WORDS_SETTINGS = {
    "base": Setting(1.0, 0.0),
    "lora_scale 0.5": Setting(1.0, 0.5),
    "lora_scale 1": Setting(),
    "and a photo": Setting(photos=1),
    "cfg 3": Setting(cfg_scale=3.0),
    "scheduler simple": Setting(scheduler="simple"),
}


class CountIgnored(logging.Handler):
    """Keeps what ComfyUI says about keys of a LoRA that it did not load."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line about such a key."""
        if "not loaded" in record.getMessage().lower():
            self.lines.append(record.getMessage())


class ToyVae:
    """The toy codec where ComfyUI's nodes want a VAE: pictures in 0..1, latents of unit variance."""

    def __init__(self, base: Base) -> None:
        self.codec = base.load_vae()

    def encode(self, frames: Tensor) -> Tensor:
        """Turn (T,H,W,3) into (1,C,F,h,w)."""
        video = frames.permute(3, 0, 1, 2)[None] * 2 - 1
        found: Tensor = self.codec.encode(video).latent_dist.mode() / self.codec.spread
        return found

    def decode(self, latents: Tensor) -> Tensor:
        """Turn (1,C,F,h,w) into (T,H,W,3)."""
        video: Tensor = self.codec.decode(latents * self.codec.spread).sample
        return ((video[0].permute(1, 2, 3, 0) + 1) / 2).clamp(0, 1)


def to_comfy_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a transformer's weights from diffusers' names to ComfyUI's, which are Wan's own."""
    inner = [*LAYERS, ("attn1.norm_", "self_attn.norm_"), ("attn2.norm_", "cross_attn.norm_"), ("norm2", "norm3")]
    renamed = {}
    for name, value in state.items():
        if name.startswith(("blocks.", "vace_blocks.")):
            kind, number, layer = name.split(".", 2)
            ours, theirs = next(
                pair for pair in [*inner, ("scale_shift_table", "modulation")] if layer.startswith(pair[0])
            )
            renamed[f"{kind}.{number}.{theirs}{layer.removeprefix(ours)}"] = value
        elif name == "scale_shift_table":
            renamed["head.modulation"] = value
        else:
            pairs = [pair for pair in OUTER if name.startswith(f"{pair[0]}.")]
            renamed[name.replace(*pairs[0]) if pairs else name] = value
    return renamed


class Comfy:
    """ComfyUI with the toy base and the exported person in its folders."""

    def __init__(self, folder: Path, base: Base, files: Path, dtype: str = "float32") -> None:
        sys.path.insert(0, str(folder))
        from comfy.cli_args import args

        args.cpu = True
        import comfyui_version
        import folder_paths
        import nodes
        from comfy import latent_formats, model_detection, model_patcher, supported_models
        from comfy_extras import nodes_model_advanced, nodes_wan

        self.version = comfyui_version.__version__
        self.nodes, self.wan, self.advanced = nodes, nodes_wan, nodes_model_advanced
        folder_paths.models_dir = str(files / "models")
        folder_paths.add_model_folder_path("loras", str(files / "models" / "loras"), is_default=True)
        node = files / "custom_nodes" / "facesmith_face_tokens.py"
        assert not node.exists() or asyncio.run(nodes.load_custom_node(str(node)))

        class ToyLatents(latent_formats.LatentFormat):  # type: ignore[misc, name-defined]
            latent_channels, latent_dimensions = base.latent_channels, 3

        latent_formats.Wan21 = ToyLatents  # WanVaceToVideo asks it for an empty latent
        weights = to_comfy_weights(base.load_transformer(torch.float32).state_dict())
        shape = model_detection.detect_unet_config(weights, "")
        config = base.transformer_config
        shape.update(num_heads=config["num_attention_heads"], freq_dim=config["freq_dim"], text_dim=base.text_width)
        kind = supported_models.WAN21_Vace(shape)
        kind.latent_format = ToyLatents()
        stored, computed = DTYPES[dtype]
        kind.set_inference_dtype(stored, computed)
        model = kind.get_model(weights)
        missing, unexpected = model.diffusion_model.load_state_dict(weights, strict=False)
        assert not [*missing, *unexpected], (missing, unexpected)
        cpu, self._dtype = torch.device("cpu"), computed or stored
        self.model = model_patcher.ModelPatcher(model.eval(), cpu, cpu)
        self.vae = ToyVae(base)
        self.ignored = CountIgnored()
        logging.getLogger().addHandler(self.ignored)
        self._base, self._encoder = base, self._load_text_encoder(base)

    def _load_text_encoder(self, base: Base) -> Any:
        from comfy.text_encoders.wan import UMT5XXlModel

        theirs = base.load_text_encoder()
        sizes = {key: getattr(theirs.config, key) for key in ("d_model", "d_ff", "d_kv", "num_heads", "num_layers")}
        sizes["vocab_size"] = theirs.config.vocab_size
        options = {"model_name": "umt5xxl", "umt5xxl_model_config": sizes}
        encoder = UMT5XXlModel(dtype=torch.float32, model_options=options)
        missing, unexpected = encoder.load_sd(theirs.state_dict())
        assert not missing, missing
        assert set(unexpected) <= {"encoder.embed_tokens.weight"}, unexpected
        return encoder

    def encode(self, prompt: str, length: int) -> list[list[Any]]:
        """Encode a prompt as CLIP Text Encode does; Wan's tokenizer fills up to 512 rows, this one to `length`."""
        ids = self._base.load_tokenizer()([prompt]).input_ids[0]
        pairs = [(one, 1.0) for one in [*ids, *[0] * (length - len(ids))]]
        return [[self._encoder.encode_token_weights([pairs])[0], {}]]

    def with_tokens(self, conditioning: Any, mapper: str, face_scale: float) -> Any:
        """Apply the node of the face tokens."""
        node = self.nodes.NODE_CLASS_MAPPINGS["FacesmithFaceTokens"]
        return node().apply(conditioning, mapper=mapper, face_scale=face_scale)[0]

    def with_lora(self, name: str, strength: float) -> Any:
        """Apply LoraLoaderModelOnly."""
        return self.nodes.LoraLoaderModelOnly().load_lora_model_only(self.model, name, strength)[0]

    def velocity(self, model: Any, latents: Tensor, time: Tensor, text: Tensor, control: Tensor) -> Tensor:
        """Return the answer of a patched model."""
        model.patch_model()
        latents, text, control = (one.to(self._dtype) for one in (latents, text, control))
        found: Tensor = model.model.diffusion_model(
            latents, time, context=text, vace_context=control[:, None], vace_strength=[1.0]
        ).float()
        model.unpatch_model()
        return found

    def draw(
        self,
        model: Any,
        prompts: tuple[Any, Any],
        poses: np.ndarray,
        photos: list[np.ndarray],
        seed: int,
        set_: Setting,
    ) -> np.ndarray:
        """Draw a dance by ComfyUI's nodes.

        Args:
            model: With the LoRA.
            prompts: Encoded, what is to be seen and what is not.
            poses: (T,H,W,3) RGB uint8.
            photos: (H,W,3) RGB uint8, one or none.
            seed: Of the noise.
            set_: Guidance and noise levels.

        Returns:
            (T,H,W,3) RGB uint8.
        """
        count, height, width = poses.shape[:3]
        given = self.wan.WanVaceToVideo.execute(
            positive=prompts[0],
            negative=prompts[1],
            vae=self.vae,
            width=width,
            height=height,
            length=count,
            batch_size=1,
            strength=1.0,
            control_video=torch.from_numpy(poses).float() / 255,
            reference_image=torch.from_numpy(photos[0])[None].float() / 255 if photos else None,
        )
        positive, negative, latent, trim = given.args
        shift = self._base.load_scheduler().config.shift
        (model,) = self.advanced.ModelSamplingSD3().patch(model, shift)
        (samples,) = self.nodes.KSampler().sample(
            model, seed, STEPS, set_.cfg_scale, "euler", set_.scheduler, positive, negative, latent
        )
        trimmed = self.wan.TrimVideoLatent.execute(samples, trim).args[0]
        (frames,) = self.nodes.VAEDecode().decode(self.vae, trimmed)
        return (frames * 255).round().to(torch.uint8).numpy()


def check_layouts() -> None:
    """Print how many layers of a LoRA on all layers ComfyUI loads into the real layouts, which have no weights here."""
    from comfy import lora, model_detection

    for name in ("1.3B", "14B"):
        with torch.device("meta"):
            transformer = WanVACETransformer3DModel(**LAYOUTS[name])
            weights = to_comfy_weights(transformer.state_dict())
            add_lora(transformer, rank=4, alpha=4, dropout=0.0, targets=TARGETS, vace_blocks=True)
        found = get_peft_model_state_dict(transformer, adapter_name=NAME)
        given = to_comfy({f"{PREFIX}{key}": value for key, value in found.items()}, {"lora_alpha": 4})
        kind = model_detection.model_config_from_unet(weights, "")
        model = kind.get_model(weights, device="meta")
        shapes = {key: value.shape for key, value in model.diffusion_model.state_dict().items()}
        same = shapes == {key: value.shape for key, value in weights.items()}
        loaded = lora.load_lora(given, lora.model_lora_keys_unet(model, {}))
        print(f"{name}: {type(kind).__name__}, all shapes fit: {same}; layers: {len(loaded)} of {len(given) // 3}")


class Names(NamedTuple):
    """Files of a person as ComfyUI lists them, and the folder of its LoRAs."""

    lora: str
    mapper: str
    loras: Path


def export_files(model: Path, bundle: AdapterBundle, files: Path) -> Names:
    """Export a person, each file where ComfyUI looks for it."""
    for line in convert_lora(model, "comfyui", files, None):
        print(line)
    name = bundle.facts["identity"]
    places = {
        f"{name}_comfyui.safetensors": "models/loras",
        f"{name}_face_tokens.safetensors": "models/facesmith",
        "facesmith_face_tokens.py": "custom_nodes",
    }
    for file, folder in places.items():
        (files / folder).mkdir(parents=True, exist_ok=True)
        if (files / file).exists():
            (files / file).replace(files / folder / file)
    return Names(f"{name}_comfyui.safetensors", f"{name}_face_tokens.safetensors", files / "models" / "loras")


class Probe(NamedTuple):
    """What transformers are asked."""

    base: Any
    """The transformer without a LoRA."""
    latents: Tensor
    control: Tensor
    text: Tensor
    conditioning: Any
    """The same text, by ComfyUI's encoder."""


def make_probe(comfy: Comfy, base: Base, bundle: AdapterBundle, prompt: str) -> Probe:
    """Make noise, and a prompt encoded by both; print how far they are from each other."""
    length = int(bundle.facts["text_length"])
    text = encode_prompts(base, [prompt], length, bundle.mapper.tokens)[prompt]
    conditioning = comfy.encode(prompt, length)
    theirs = conditioning[0][0]
    rows = int(text[0].ne(0).any(-1).sum())
    print(
        f"text: {rows} rows of words, largest difference {float((theirs - text).abs().max()):.1e} of "
        f"{float(text.abs().max()):.1f}; the other {length - rows} rows are zero: {not theirs[0, rows:].any()}"
    )
    random = torch.Generator().manual_seed(0)
    size, channels = (3, 8, 8), base.transformer_config["vace_in_channels"]
    latents = torch.randn(1, base.latent_channels, *size, generator=random)
    control = torch.randn(1, channels, *size, generator=random)
    return Probe(base.load_transformer(torch.float32), latents, control, text, conditioning)


def differ(comfy: Comfy, probe: Probe, transformer: Any, model: Any, text: Tensor, conditioning: Any) -> str:
    """Say how far answers of ComfyUI are from those of diffusers, and from the base's, at three noise levels."""
    far, changed = 0.0, 0.0
    for time in (1000.0, 700.0, 200.0):
        at = torch.tensor([time])
        asked = {"hidden_states": probe.latents, "timestep": at, "control_hidden_states": probe.control}
        wanted = transformer(**asked, encoder_hidden_states=text, return_dict=False)[0]
        plain = probe.base(**asked, encoder_hidden_states=probe.text, return_dict=False)[0]
        found = comfy.velocity(model, probe.latents, at, conditioning[0][0], probe.control)
        far = max(far, float((found - wanted).abs().max()))
        changed = max(changed, float((found - plain).abs().max()))
    return f"{far:.1e} from that of diffusers, {changed:.1e} from the base's"


@torch.no_grad()
def compare_velocities(comfy: Comfy, base: Base, bundle: AdapterBundle, names: Names, prompt: str) -> None:
    """Print how far single answers are from each other, by scales, and with a random LoRA on all layers."""
    probe = make_probe(comfy, base, bundle, prompt)
    transformer = base.load_transformer(torch.float32)
    load_adapter(transformer, bundle)
    tokens = bundle.mapper(bundle.embedding[None])
    for set_ in list((SETTINGS if bundle.gate_tokens else WORDS_SETTINGS).values())[: 4 if bundle.gate_tokens else 3]:
        set_lora_scale(transformer, set_.lora_scale)
        text, conditioning = probe.text, probe.conditioning
        if bundle.gate_tokens:
            text = insert_face_tokens(text, set_.face_scale * tokens)
            conditioning = comfy.with_tokens(conditioning, names.mapper, set_.face_scale)
        model = comfy.with_lora(names.lora, set_.lora_scale)
        told = differ(comfy, probe, transformer, model, text, conditioning)
        print(f"velocity, face_scale {set_.face_scale:g}, lora_scale {set_.lora_scale:g}: {told}")
    random = base.load_transformer(torch.float32)
    add_lora(random, rank=4, alpha=6, dropout=0.0, targets=TARGETS, vace_blocks=True)
    for name, value in random.named_parameters():
        if "lora_B" in name:
            value.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    save_comfy(names.loras / "random.safetensors", *extract_lora(random), {})
    told = differ(comfy, probe, random, comfy.with_lora("random.safetensors", 1.0), probe.text, probe.conditioning)
    print(f"velocity, a random LoRA on all layers of blocks and VACE blocks, alpha 1.5 of the rank: {told}")


@torch.inference_mode()
def compare_videos(comfy: Comfy, base: Base, bundle: AdapterBundle, names: Names, given: dict[str, str]) -> None:
    """Draw dances in both programs; print differences and likeness, and write a picture."""
    who, dances = demo_person(int(given["person"])), int(given["dances"])
    some = sample_clips(dances, torch.Generator().manual_seed(STAGE))
    poses = (some.dances.poses * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).numpy()
    truth, target, others = truth_of(who, dances), fields(who[None])[0], distractors()
    generator = VideoGenerator(base, bundle, scheduler="base", offload="none")
    photo, length = letterbox(bundle.portraits[0].numpy(), *poses.shape[2:4]), int(bundle.facts["text_length"])
    negative = comfy.encode(NEGATIVE, length)
    rows = [poses, truth]
    for name, set_ in (SETTINGS if bundle.gate_tokens else WORDS_SETTINGS).items():
        ours, theirs = [], []
        model = comfy.with_lora(names.lora, set_.lora_scale)
        shown = [photo] if set_.photos else []
        for number, (pose, words) in enumerate(zip(poses, some.prompts, strict=True)):
            prompt, seed = with_trigger(words, given["trigger"]), 100 + number
            config = GenerationConfig(
                prompt=prompt,
                negative_prompt=NEGATIVE,
                face_scale=set_.face_scale,
                lora_scale=set_.lora_scale,
                vace_scale=1.0,
                cfg_scale=set_.cfg_scale,
                steps=STEPS,
            )
            ours.append(generator.generate(pose, config, seed, references=shown))
            positive = comfy.encode(prompt, length)
            if bundle.gate_tokens:
                positive = comfy.with_tokens(positive, names.mapper, set_.face_scale)
            theirs.append(comfy.draw(model, (positive, negative), pose, shown, seed, set_))
        far = np.abs(np.stack(ours).astype(int) - np.stack(theirs))
        scores = [figures(np.stack(one), truth, poses, target, others)["projection"] for one in (ours, theirs)]
        print(
            f"{name}: projection {scores[0]:.3f} in facesmith, {scores[1]:.3f} in ComfyUI; levels of 255 between their "
            f"videos: mean {far.mean():.3f}, most {far.max()}",
            flush=True,
        )
        rows += [np.stack(ours), np.stack(theirs)]
    sheet(rows, Path(given["output"]) / "comfyui.png")


def with_trigger(prompt: str, trigger: str) -> str:
    """Put a trigger in front of a prompt, as training does."""
    return f"{trigger}, {prompt}" if trigger else prompt


def main(arguments: list[str]) -> None:
    """Read key=value arguments: comfyui, model, output, person, dances, trigger, dtype."""
    known = {"comfyui": "", "model": "", "output": "", "person": "0", "dances": "4", "trigger": "", "dtype": "float32"}
    given, rest = split(arguments, known)
    if rest or not given["comfyui"] or not given["model"]:
        sys.exit(f"give comfyui=<folder> model=<run>/exports output=<folder>, not {' '.join(rest) or 'less'}")
    silence_libraries()
    bundle, output = load_bundle(Path(given["model"])), Path(given["output"]).resolve()
    base = open_base(str(bundle.facts["base"]))
    names = export_files(Path(given["model"]), bundle, output)
    comfy = Comfy(Path(given["comfyui"]).resolve(), base, output, given["dtype"])
    check_layouts()
    compare_velocities(comfy, base, bundle, names, with_trigger("a person dancing on a stage", given["trigger"]))
    compare_videos(comfy, base, bundle, names, given)
    print(f"ComfyUI {comfy.version}; keys of LoRAs that it did not load: {len(comfy.ignored.lines)}")


if __name__ == "__main__":
    main(sys.argv[1:])
